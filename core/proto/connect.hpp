#pragma once
// Authentication, opening and closing, and what a connection says of itself.
#include "core/proto/common.hpp"

namespace vmferry::proto {

enum class AuthType : std::int32_t { none = 0, sasl = 1, polkit = 2 };
inline constexpr std::uint32_t kSaslMax = 65536, kAuthTypesMax = 20;

struct AuthListRet {
  xdr::List<AuthType, kAuthTypesMax> types;
  static auto fields(auto& s) { return std::tie(s.types); }
};
struct SaslStartArgs {
  Str mechanism;
  bool nil = false;  ///< no data at all, which SASL tells apart from empty data
  xdr::Chars<kSaslMax> data;
  static auto fields(auto& s) { return std::tie(s.mechanism, s.nil, s.data); }
};
struct SaslStepArgs {
  bool nil = false;
  xdr::Chars<kSaslMax> data;
  static auto fields(auto& s) { return std::tie(s.nil, s.data); }
};
struct SaslRet {
  bool complete = false;
  bool nil = false;
  xdr::Chars<kSaslMax> data;
  static auto fields(auto& s) { return std::tie(s.complete, s.nil, s.data); }
};

struct OpenArgs {
  MaybeStr name;  ///< the driver URI; none: the daemon's own choice
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.name, s.flags); }
};
inline constexpr std::uint32_t kOpenReadOnly = 1;

/// virDrvFeature
enum class Feature : std::int32_t {
  migration_v1 = 1,
  migration_v2 = 3,
  migration_p2p = 4,
  migration_direct = 5,
  migration_v3 = 6,
  change_protection = 7,
  typed_param_string = 9,
  keepalive = 10,
  xml_migratable = 11,
  migration_offline = 12,
  migration_params = 13,
  event_callback = 14,
  close_callback = 15,
};
struct FeatureArgs {
  Feature feature{};
  static auto fields(auto& s) { return std::tie(s.feature); }
};
struct DomainCapabilitiesArgs {
  MaybeStr emulator, arch, machine, virttype;
  std::uint32_t flags = 0;
  static auto fields(auto& s) {
    return std::tie(s.emulator, s.arch, s.machine, s.virttype, s.flags);
  }
};
struct SetIdentityArgs {
  xdr::List<WireParam, 20> params;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.params, s.flags); }
};

using ConnectOpen = Procedure<1, "CONNECT_OPEN", OpenArgs, Void>;
using ConnectClose = Procedure<2, "CONNECT_CLOSE", Void, Void>;
using ConnectGetType = Procedure<3, "CONNECT_GET_TYPE", Void, TextRet>;
using ConnectGetVersion = Procedure<4, "CONNECT_GET_VERSION", Void, U64Ret>;
using ConnectGetCapabilities = Procedure<7, "CONNECT_GET_CAPABILITIES", Void, TextRet>;
using ConnectGetHostname = Procedure<59, "CONNECT_GET_HOSTNAME", Void, TextRet>;
using ConnectSupportsFeature = Procedure<60, "CONNECT_SUPPORTS_FEATURE", FeatureArgs, BoolRet>;
using AuthList = Procedure<66, "AUTH_LIST", Void, AuthListRet>;
using AuthSaslInit = Procedure<67, "AUTH_SASL_INIT", Void, TextRet>;
using AuthSaslStart = Procedure<68, "AUTH_SASL_START", SaslStartArgs, SaslRet>;
using AuthSaslStep = Procedure<69, "AUTH_SASL_STEP", SaslStepArgs, SaslRet>;
using AuthPolkit = Procedure<70, "AUTH_POLKIT", Void, BoolRet>;
using ConnectGetUri = Procedure<110, "CONNECT_GET_URI", Void, TextRet>;
using ConnectIsSecure = Procedure<149, "CONNECT_IS_SECURE", Void, BoolRet>;
using ConnectGetLibVersion = Procedure<157, "CONNECT_GET_LIB_VERSION", Void, U64Ret>;
using ConnectGetDomainCapabilities =
    Procedure<342, "CONNECT_GET_DOMAIN_CAPABILITIES", DomainCapabilitiesArgs, TextRet>;
using ConnectRegisterCloseCallback = Procedure<360, "CONNECT_REGISTER_CLOSE_CALLBACK", Void, Void>;
using ConnectUnregisterCloseCallback =
    Procedure<361, "CONNECT_UNREGISTER_CLOSE_CALLBACK", Void, Void>;
using ConnectSetIdentity = Procedure<419, "CONNECT_SET_IDENTITY", SetIdentityArgs, Void>;

}  // namespace vmferry::proto
