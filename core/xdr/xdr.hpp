#pragma once
// XDR (RFC 4506) from one declaration per struct: `fields` lists the members in wire order, and
// encoding, decoding, limits and the smallest size come from it.
#include <algorithm>
#include <bit>
#include <concepts>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/base/error.hpp"
#include "core/xdr/buffer.hpp"

namespace vmferry::xdr {

/// A wire struct names its members once:
///   static auto fields(auto& s) { return std::tie(s.a, s.b); }
template <class T>
concept Message = requires(T& t) { T::fields(t); };

// How many members an aggregate really has: proves at compile time that `fields` forgot none.
struct AnyMember {
  template <class T>
  operator T() const;
};
template <class T, class... A>
consteval std::size_t arity() {
  if constexpr (requires { T{A{}..., AnyMember{}}; })
    return arity<T, A..., AnyMember>();
  else
    return sizeof...(A);
}

/// The fewest bytes that a value of T takes on the wire.
template <class T>
consteval std::size_t min_size() {
  if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return sizeof(T) == 8 ? 8 : 4;
  } else if constexpr (Message<T>) {
    using Tuple = decltype(T::fields(std::declval<T&>()));
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (std::size_t{0} + ... +
              min_size<std::remove_cvref_t<std::tuple_element_t<I, Tuple>>>());
    }(std::make_index_sequence<std::tuple_size_v<Tuple>>());
  } else {
    return T::kMinSize;
  }
}

// Three kinds of things travel: numbers (four or eight bytes; `char` takes four as well), structs
// with fields, and the shapes of shapes.hpp, which know how.
template <class T>
void put(Writer& w, const T& x) {
  if constexpr (std::is_enum_v<T>) {
    put(w, std::to_underlying(x));
  } else if constexpr (std::same_as<T, double>) {
    put(w, std::bit_cast<std::uint64_t>(x));
  } else if constexpr (std::integral<T> && sizeof(T) == 8) {
    w.word(static_cast<std::uint32_t>(static_cast<std::uint64_t>(x) >> 32));
    w.word(static_cast<std::uint32_t>(x));
  } else if constexpr (std::integral<T>) {
    w.word(static_cast<std::uint32_t>(x));
  } else if constexpr (Message<T>) {
    static_assert(arity<T>() == std::tuple_size_v<decltype(T::fields(x))>,
                  "fields() must list every member, in wire order");
    std::apply([&](auto&... field) { (put(w, field), ...); }, T::fields(x));
  } else {
    x.put(w);
  }
}

template <class T>
void get(Reader& r, T& x) {
  if constexpr (std::is_enum_v<T>) {
    std::underlying_type_t<T> n{};
    get(r, n);
    x = static_cast<T>(n);
  } else if constexpr (std::same_as<T, double>) {
    std::uint64_t n = 0;
    get(r, n);
    x = std::bit_cast<double>(n);
  } else if constexpr (std::same_as<T, bool>) {
    x = r.word() != 0;  // libvirt's own decoders take any non-zero
  } else if constexpr (std::integral<T> && sizeof(T) == 8) {
    const std::uint64_t high = r.word();
    x = static_cast<T>(high << 32 | r.word());
  } else if constexpr (std::integral<T>) {
    x = static_cast<T>(r.word());
  } else if constexpr (Message<T>) {
    static_assert(arity<T>() == std::tuple_size_v<decltype(T::fields(x))>,
                  "fields() must list every member, in wire order");
    std::apply([&](auto&... field) { (get(r, field), ...); }, T::fields(x));
  } else {
    x.get(r);
  }
}

/// Errors: unsupported, when a value is above the limit of its type.
template <class T>
Result<Bytes> encode(const T& message) {
  Bytes out;
  Writer w(out);
  put(w, message);
  if (w.why()) return fail(ErrorId::unsupported, w.why());
  return out;
}

/// The whole of `in`, and nothing but. Errors: protocol.
template <class T>
Result<T> decode(std::span<const std::byte> in) {
  Reader r(in);
  T message{};
  get(r, message);
  if (r.left() != 0) r.fail("bytes after the message");
  if (r.why()) return fail(ErrorId::protocol, r.why());
  return message;
}

}  // namespace vmferry::xdr
