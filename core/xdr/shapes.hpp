#pragma once
// What is neither a number nor a struct: strings, opaque data, lists, optional values, unions. The
// limits are part of the types, so nothing can be declared, encoded or decoded without a bound.
#include <array>
#include <cstring>
#include <optional>
#include <variant>

#include "core/xdr/xdr.hpp"

namespace vmferry::xdr {

/// Text of at most Max bytes. A NUL inside is refused both ways: a peer written in C would see
/// another text than we do.
template <std::uint32_t Max>
struct String {
  static constexpr std::size_t kMinSize = 4;
  std::string v;
  String(std::string s = {}) : v(std::move(s)) {}
  String(const char* s) : v(s) {}
  void put(Writer& w) const {
    if (v.find('\0') != std::string::npos) w.fail("a NUL inside a text");
    w.blob(std::as_bytes(std::span(v)), Max);
  }
  void get(Reader& r) {
    const auto b = r.raw(r.count(Max, 1));
    v.resize(b.size());
    std::transform(b.begin(), b.end(), v.begin(), [](std::byte x) { return static_cast<char>(x); });
    if (v.find('\0') != std::string::npos) r.fail("a NUL inside a text");
  }
};

/// At most Max bytes of anything.
template <std::uint32_t Max>
struct Opaque {
  static constexpr std::size_t kMinSize = 4;
  Bytes v;
  Opaque(Bytes b = {}) : v(std::move(b)) {}
  void put(Writer& w) const { w.blob(v, Max); }
  void get(Reader& r) {
    const auto b = r.raw(r.count(Max, 1));
    v.assign(b.begin(), b.end());
  }
};

/// Exactly N bytes of anything.
template <std::uint32_t N>
struct Fixed {
  static constexpr std::size_t kMinSize = (std::size_t{N} + 3) / 4 * 4;
  std::array<std::byte, N> v;
  Fixed() : v{} {}
  Fixed(const std::array<std::byte, N>& bytes) : v(bytes) {}
  void put(Writer& w) const { w.raw(v); }
  void get(Reader& r) {
    if (const auto b = r.raw(N); b.size() == N) std::memcpy(v.data(), b.data(), N);
  }
};

/// C's `char data[N]`: every element takes four bytes, sign-extended. Text that ends at the first
/// NUL, as libvirt's only use of it (virNodeInfo::model).
template <std::uint32_t N>
struct FixedChars {
  static constexpr std::size_t kMinSize = std::size_t{4} * N;
  std::string v;
  FixedChars(std::string s = {}) : v(std::move(s)) {}
  void put(Writer& w) const {
    if (v.size() > N) w.fail("more than the protocol allows");
    for (std::size_t i = 0; i < N; ++i)
      w.word(i < v.size() ? static_cast<std::uint32_t>(static_cast<signed char>(v[i])) : 0);
  }
  void get(Reader& r) {
    v.clear();
    for (std::uint32_t i = 0; i < N; ++i) v.push_back(static_cast<char>(r.word() & 0xff));
    v.resize(std::strlen(v.c_str()));
  }
};

/// C's `char data<Max>`: a count, then four bytes per element (SASL's tokens).
template <std::uint32_t Max>
struct Chars {
  static constexpr std::size_t kMinSize = 4;
  Bytes v;
  Chars(Bytes b = {}) : v(std::move(b)) {}
  void put(Writer& w) const {
    w.count(v.size(), Max);
    for (const std::byte b : v)
      w.word(static_cast<std::uint32_t>(static_cast<signed char>(std::to_integer<int>(b))));
  }
  void get(Reader& r) {
    v.clear();
    for (auto n = r.count(Max, 4); n > 0; --n) v.push_back(static_cast<std::byte>(r.word()));
  }
};

template <class T, std::uint32_t Max>
struct List {
  static constexpr std::size_t kMinSize = 4;
  std::vector<T> v;
  List(std::vector<T> items = {}) : v(std::move(items)) {}
  void put(Writer& w) const {
    w.count(v.size(), Max);
    for (const T& x : v) xdr::put(w, x);
  }
  void get(Reader& r) {
    static_assert(min_size<T>() > 0);
    auto n = r.count(Max, min_size<T>());
    v.clear();
    v.reserve(n);
    for (; n > 0 && !r.why(); --n) xdr::get(r, v.emplace_back());
  }
};

/// XDR's optional data (`T *`).
template <class T>
struct Maybe {
  static constexpr std::size_t kMinSize = 4;
  std::optional<T> v;
  Maybe(std::optional<T> x = {}) : v(std::move(x)) {}
  void put(Writer& w) const {
    xdr::put(w, v.has_value());
    if (v) xdr::put(w, *v);
  }
  void get(Reader& r) {
    bool has = false;
    xdr::get(r, has);
    v.reset();
    if (has) xdr::get(r, v.emplace());
  }
};

template <std::int32_t Tag, class T>
struct Arm {
  static constexpr std::int32_t tag = Tag;
  using type = T;
};

/// A discriminated union without a default arm: an unknown discriminant is an error.
template <class... Arms>
struct Union {
  static constexpr std::size_t kMinSize = 4 + std::min({min_size<typename Arms::type>()...});
  std::variant<typename Arms::type...> v;
  Union() = default;
  explicit Union(std::variant<typename Arms::type...> value) : v(std::move(value)) {}
  void put(Writer& w) const {
    static constexpr std::int32_t tags[] = {Arms::tag...};
    xdr::put(w, tags[v.index()]);
    std::visit([&](const auto& x) { xdr::put(w, x); }, v);
  }
  void get(Reader& r) {
    std::int32_t tag = 0;
    xdr::get(r, tag);
    const bool known = (get_arm<Arms>(r, tag) || ...);
    if (!known) r.fail("unknown kind of value");
  }

 private:
  template <class A>
  bool get_arm(Reader& r, std::int32_t tag) {
    if (tag != A::tag) return false;
    xdr::get(r, v.template emplace<typename A::type>());
    return true;
  }
};

}  // namespace vmferry::xdr
