#pragma once
// What all themes of libvirt's remote protocol share: limits, object structs, recurring shapes.
// Source: remote_protocol.x of libvirt 11.3. The order of members is the order on the wire.
#include <algorithm>
#include <string_view>

#include "core/xdr/shapes.hpp"

namespace vmferry::proto {

inline constexpr std::uint32_t kRemoteProgram = 0x20008086, kQemuProgram = 0x20008087,
                               kKeepaliveProgram = 0x6b656570, kVersion = 1;
inline constexpr std::int32_t kPing = 1, kPong = 2;  // procedures of the keepalive program

inline constexpr std::uint32_t kStringMax = 4 << 20, kCookieMax = 4 << 20, kParamsMax = 64,
                               kFieldMax = 79, kListMax = 16384;

using Str = xdr::String<kStringMax>;
using MaybeStr = xdr::Maybe<Str>;
using WireUuid = xdr::Fixed<16>;
using WireCookie = xdr::Opaque<kCookieMax>;

struct Void {
  static auto fields(auto&) { return std::tuple<>(); }
};

/// remote_nonnull_domain
struct Domain {
  Str name;
  WireUuid uuid;
  std::int32_t id = -1;
  static auto fields(auto& s) { return std::tie(s.name, s.uuid, s.id); }
};

/// remote_nonnull_network, remote_nonnull_storage_pool and remote_nonnull_nwfilter alike
struct Named {
  Str name;
  WireUuid uuid;
  static auto fields(auto& s) { return std::tie(s.name, s.uuid); }
};

/// remote_typed_param
struct WireParam {
  using Value = xdr::Union<xdr::Arm<1, std::int32_t>, xdr::Arm<2, std::uint32_t>,
                           xdr::Arm<3, std::int64_t>, xdr::Arm<4, std::uint64_t>,
                           xdr::Arm<5, double>, xdr::Arm<6, bool>, xdr::Arm<7, Str>>;
  xdr::String<kFieldMax> field;
  Value value;
  static auto fields(auto& s) { return std::tie(s.field, s.value); }
};
using WireParams = xdr::List<WireParam, kParamsMax>;

// Shapes that many procedures have.
struct DomainArgs {
  Domain dom;
  static auto fields(auto& s) { return std::tie(s.dom); }
};
struct DomainFlagsArgs {
  Domain dom;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.flags); }
};
struct DomainValueArgs {
  Domain dom;
  std::uint64_t value = 0;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.value, s.flags); }
};
struct TextFlagsArgs {
  Str text;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.text, s.flags); }
};
struct TextArgs {
  Str text;
  static auto fields(auto& s) { return std::tie(s.text); }
};
struct FlagsArgs {
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.flags); }
};
struct IntArgs {
  std::int32_t value = 0;
  static auto fields(auto& s) { return std::tie(s.value); }
};
struct UuidArgs {
  WireUuid uuid;
  static auto fields(auto& s) { return std::tie(s.uuid); }
};
struct ListArgs {
  bool need_results = true;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.need_results, s.flags); }
};
struct NamedFlagsArgs {
  Named object;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.object, s.flags); }
};

struct DomainRet {
  Domain dom;
  static auto fields(auto& s) { return std::tie(s.dom); }
};
struct NamedRet {
  Named object;
  static auto fields(auto& s) { return std::tie(s.object); }
};
struct TextRet {
  Str text;
  static auto fields(auto& s) { return std::tie(s.text); }
};
struct IntRet {
  std::int32_t value = 0;
  static auto fields(auto& s) { return std::tie(s.value); }
};
struct BoolRet {
  bool value = false;
  static auto fields(auto& s) { return std::tie(s.value); }
};
struct U64Ret {
  std::uint64_t value = 0;
  static auto fields(auto& s) { return std::tie(s.value); }
};

/// A name as a template argument.
template <std::size_t N>
struct Name {
  char text[N];
  consteval Name(const char (&s)[N]) { std::copy_n(s, N, text); }
};

/// Ties a procedure's number and name to both of its messages; the client's calls and the server's
/// table use the same line.
template <std::int32_t Number, Name Label, class A, class R>
struct Procedure {
  using Args = A;
  using Ret = R;
  static constexpr std::uint32_t program = kRemoteProgram;
  static constexpr std::int32_t number = Number;
  static constexpr std::string_view name = Label.text;
};

/// An event: what a server sends without being asked.
template <std::int32_t Number, Name Label, class B>
struct Event {
  using Body = B;
  static constexpr std::int32_t number = Number;
  static constexpr std::string_view name = Label.text;
};

}  // namespace vmferry::proto
