#pragma once
// The phases of a migration in all four protocol versions. `resource` is the bandwidth in MiB/s.
#include "core/proto/common.hpp"

namespace vmferry::proto {

// What several versions share.
struct PrepareRet {
  WireCookie cookie_out;
  MaybeStr uri_out;
  static auto fields(auto& s) { return std::tie(s.cookie_out, s.uri_out); }
};
struct CookieRet {
  WireCookie cookie_out;
  static auto fields(auto& s) { return std::tie(s.cookie_out); }
};
struct BeginRet {
  WireCookie cookie_out;
  Str xml;
  static auto fields(auto& s) { return std::tie(s.cookie_out, s.xml); }
};
struct FinishRet {
  Domain dom;
  WireCookie cookie_out;
  static auto fields(auto& s) { return std::tie(s.dom, s.cookie_out); }
};

// Versions 1 and 2.
struct PrepareArgs {
  MaybeStr uri_in;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  static auto fields(auto& s) { return std::tie(s.uri_in, s.flags, s.dname, s.resource); }
};
struct Prepare2Args {
  MaybeStr uri_in;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  Str dom_xml;
  static auto fields(auto& s) {
    return std::tie(s.uri_in, s.flags, s.dname, s.resource, s.dom_xml);
  }
};
struct PrepareTunnelArgs {
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  Str dom_xml;
  static auto fields(auto& s) { return std::tie(s.flags, s.dname, s.resource, s.dom_xml); }
};
struct PerformArgs {
  Domain dom;
  WireCookie cookie;
  Str uri;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  static auto fields(auto& s) {
    return std::tie(s.dom, s.cookie, s.uri, s.flags, s.dname, s.resource);
  }
};
struct FinishArgs {
  Str dname;
  WireCookie cookie;
  Str uri;
  std::uint64_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.dname, s.cookie, s.uri, s.flags); }
};
struct Finish2Args {
  Str dname;
  WireCookie cookie;
  Str uri;
  std::uint64_t flags = 0;
  std::int32_t retcode = 0;  ///< 0: Perform went well
  static auto fields(auto& s) { return std::tie(s.dname, s.cookie, s.uri, s.flags, s.retcode); }
};

// Version 3.
struct Begin3Args {
  Domain dom;
  MaybeStr xmlin;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.xmlin, s.flags, s.dname, s.resource); }
};
struct Prepare3Args {
  WireCookie cookie_in;
  MaybeStr uri_in;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  Str dom_xml;
  static auto fields(auto& s) {
    return std::tie(s.cookie_in, s.uri_in, s.flags, s.dname, s.resource, s.dom_xml);
  }
};
struct PrepareTunnel3Args {
  WireCookie cookie_in;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  Str dom_xml;
  static auto fields(auto& s) {
    return std::tie(s.cookie_in, s.flags, s.dname, s.resource, s.dom_xml);
  }
};
struct Perform3Args {
  Domain dom;
  MaybeStr xmlin;
  WireCookie cookie_in;
  MaybeStr dconnuri, uri;
  std::uint64_t flags = 0;
  MaybeStr dname;
  std::uint64_t resource = 0;
  static auto fields(auto& s) {
    return std::tie(s.dom, s.xmlin, s.cookie_in, s.dconnuri, s.uri, s.flags, s.dname, s.resource);
  }
};
struct Finish3Args {
  Str dname;
  WireCookie cookie_in;
  MaybeStr dconnuri, uri;
  std::uint64_t flags = 0;
  bool cancelled = false;
  static auto fields(auto& s) {
    return std::tie(s.dname, s.cookie_in, s.dconnuri, s.uri, s.flags, s.cancelled);
  }
};
struct Confirm3Args {
  Domain dom;
  WireCookie cookie_in;
  std::uint64_t flags = 0;
  bool cancelled = false;
  static auto fields(auto& s) { return std::tie(s.dom, s.cookie_in, s.flags, s.cancelled); }
};

// Version 3 with parameters.
struct Begin3ParamsArgs {
  Domain dom;
  WireParams params;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.params, s.flags); }
};
struct Prepare3ParamsArgs {
  WireParams params;
  WireCookie cookie_in;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.params, s.cookie_in, s.flags); }
};
struct Perform3ParamsArgs {
  Domain dom;
  MaybeStr dconnuri;
  WireParams params;
  WireCookie cookie_in;
  std::uint32_t flags = 0;
  static auto fields(auto& s) {
    return std::tie(s.dom, s.dconnuri, s.params, s.cookie_in, s.flags);
  }
};
struct Finish3ParamsArgs {
  WireParams params;
  WireCookie cookie_in;
  std::uint32_t flags = 0;
  bool cancelled = false;
  static auto fields(auto& s) { return std::tie(s.params, s.cookie_in, s.flags, s.cancelled); }
};
struct Confirm3ParamsArgs {
  Domain dom;
  WireParams params;
  WireCookie cookie_in;
  std::uint32_t flags = 0;
  bool cancelled = false;
  static auto fields(auto& s) {
    return std::tie(s.dom, s.params, s.cookie_in, s.flags, s.cancelled);
  }
};

using MigratePrepare = Procedure<61, "DOMAIN_MIGRATE_PREPARE", PrepareArgs, PrepareRet>;
using MigratePerform = Procedure<62, "DOMAIN_MIGRATE_PERFORM", PerformArgs, Void>;
using MigrateFinish = Procedure<63, "DOMAIN_MIGRATE_FINISH", FinishArgs, DomainRet>;
using MigratePrepare2 = Procedure<108, "DOMAIN_MIGRATE_PREPARE2", Prepare2Args, PrepareRet>;
using MigrateFinish2 = Procedure<109, "DOMAIN_MIGRATE_FINISH2", Finish2Args, DomainRet>;
using MigratePrepareTunnel =
    Procedure<148, "DOMAIN_MIGRATE_PREPARE_TUNNEL", PrepareTunnelArgs, Void>;

using MigrateBegin3 = Procedure<213, "DOMAIN_MIGRATE_BEGIN3", Begin3Args, BeginRet>;
using MigratePrepare3 = Procedure<214, "DOMAIN_MIGRATE_PREPARE3", Prepare3Args, PrepareRet>;
using MigratePrepareTunnel3 =
    Procedure<215, "DOMAIN_MIGRATE_PREPARE_TUNNEL3", PrepareTunnel3Args, CookieRet>;
using MigratePerform3 = Procedure<216, "DOMAIN_MIGRATE_PERFORM3", Perform3Args, CookieRet>;
using MigrateFinish3 = Procedure<217, "DOMAIN_MIGRATE_FINISH3", Finish3Args, FinishRet>;
using MigrateConfirm3 = Procedure<218, "DOMAIN_MIGRATE_CONFIRM3", Confirm3Args, Void>;

using MigrateBegin3Params =
    Procedure<302, "DOMAIN_MIGRATE_BEGIN3_PARAMS", Begin3ParamsArgs, BeginRet>;
using MigratePrepare3Params =
    Procedure<303, "DOMAIN_MIGRATE_PREPARE3_PARAMS", Prepare3ParamsArgs, PrepareRet>;
using MigratePrepareTunnel3Params =
    Procedure<304, "DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS", Prepare3ParamsArgs, CookieRet>;
using MigratePerform3Params =
    Procedure<305, "DOMAIN_MIGRATE_PERFORM3_PARAMS", Perform3ParamsArgs, CookieRet>;
using MigrateFinish3Params =
    Procedure<306, "DOMAIN_MIGRATE_FINISH3_PARAMS", Finish3ParamsArgs, FinishRet>;
using MigrateConfirm3Params =
    Procedure<307, "DOMAIN_MIGRATE_CONFIRM3_PARAMS", Confirm3ParamsArgs, Void>;

}  // namespace vmferry::proto
