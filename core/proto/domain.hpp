#pragma once
// Looking domains up, their state, and their life cycle.
#include "core/proto/common.hpp"

namespace vmferry::proto {

struct ListAllDomainsRet {
  xdr::List<Domain, kListMax> domains;
  std::uint32_t ret = 0;  ///< how many there are
  static auto fields(auto& s) { return std::tie(s.domains, s.ret); }
};
struct ListDomainsRet {
  xdr::List<std::int32_t, kListMax> ids;
  static auto fields(auto& s) { return std::tie(s.ids); }
};
struct NamesRet {
  xdr::List<Str, kListMax> names;
  static auto fields(auto& s) { return std::tie(s.names); }
};
struct DomainInfoRet {
  std::uint8_t state = 0;
  std::uint64_t max_memory_kib = 0, memory_kib = 0;
  std::uint16_t vcpus = 0;
  std::uint64_t cpu_time_ns = 0;
  static auto fields(auto& s) {
    return std::tie(s.state, s.max_memory_kib, s.memory_kib, s.vcpus, s.cpu_time_ns);
  }
};
struct DomainStateRet {
  std::int32_t state = 0, reason = 0;
  static auto fields(auto& s) { return std::tie(s.state, s.reason); }
};
struct AutostartArgs {
  Domain dom;
  bool autostart = false;
  static auto fields(auto& s) { return std::tie(s.dom, s.autostart); }
};
struct SecurityLabelRet {
  xdr::Chars<4097> label;
  bool enforcing = false;
  static auto fields(auto& s) { return std::tie(s.label, s.enforcing); }
};
struct SecurityModelRet {
  xdr::Chars<257> model, doi;
  static auto fields(auto& s) { return std::tie(s.model, s.doi); }
};
struct MessagesRet {
  xdr::List<Str, 2048> messages;
  static auto fields(auto& s) { return std::tie(s.messages); }
};
struct BlockInfoArgs {
  Domain dom;
  Str path;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.path, s.flags); }
};
struct BlockInfoRet {
  std::uint64_t allocation = 0, capacity = 0, physical = 0;  // bytes
  static auto fields(auto& s) { return std::tie(s.allocation, s.capacity, s.physical); }
};

// Look-up and lists.
using DomainLookupById = Procedure<22, "DOMAIN_LOOKUP_BY_ID", IntArgs, DomainRet>;
using DomainLookupByName = Procedure<23, "DOMAIN_LOOKUP_BY_NAME", TextArgs, DomainRet>;
using DomainLookupByUuid = Procedure<24, "DOMAIN_LOOKUP_BY_UUID", UuidArgs, DomainRet>;
using ConnectListAllDomains =
    Procedure<273, "CONNECT_LIST_ALL_DOMAINS", ListArgs, ListAllDomainsRet>;
using ConnectListDomains = Procedure<37, "CONNECT_LIST_DOMAINS", IntArgs, ListDomainsRet>;
using ConnectNumOfDomains = Procedure<51, "CONNECT_NUM_OF_DOMAINS", Void, IntRet>;
using ConnectListDefinedDomains = Procedure<21, "CONNECT_LIST_DEFINED_DOMAINS", IntArgs, NamesRet>;
using ConnectNumOfDefinedDomains = Procedure<25, "CONNECT_NUM_OF_DEFINED_DOMAINS", Void, IntRet>;

// State.
using DomainGetInfo = Procedure<16, "DOMAIN_GET_INFO", DomainArgs, DomainInfoRet>;
using DomainGetState = Procedure<212, "DOMAIN_GET_STATE", DomainFlagsArgs, DomainStateRet>;
using DomainGetXmlDesc = Procedure<14, "DOMAIN_GET_XML_DESC", DomainFlagsArgs, TextRet>;
using DomainIsActive = Procedure<150, "DOMAIN_IS_ACTIVE", DomainArgs, BoolRet>;
using DomainIsPersistent = Procedure<151, "DOMAIN_IS_PERSISTENT", DomainArgs, BoolRet>;
using DomainIsUpdated = Procedure<202, "DOMAIN_IS_UPDATED", DomainArgs, BoolRet>;
using DomainHasManagedSave =
    Procedure<183, "DOMAIN_HAS_MANAGED_SAVE_IMAGE", DomainFlagsArgs, BoolRet>;
using DomainSnapshotNum = Procedure<187, "DOMAIN_SNAPSHOT_NUM", DomainFlagsArgs, IntRet>;
using DomainGetBlockInfo = Procedure<194, "DOMAIN_GET_BLOCK_INFO", BlockInfoArgs, BlockInfoRet>;
using DomainGetSecurityLabel =
    Procedure<121, "DOMAIN_GET_SECURITY_LABEL", DomainArgs, SecurityLabelRet>;
using NodeGetSecurityModel = Procedure<122, "NODE_GET_SECURITY_MODEL", Void, SecurityModelRet>;
using DomainGetMessages = Procedure<426, "DOMAIN_GET_MESSAGES", DomainFlagsArgs, MessagesRet>;

// Life cycle.
using DomainDefineXml = Procedure<11, "DOMAIN_DEFINE_XML", TextArgs, DomainRet>;
using DomainDefineXmlFlags = Procedure<350, "DOMAIN_DEFINE_XML_FLAGS", TextFlagsArgs, DomainRet>;
using DomainCreate = Procedure<9, "DOMAIN_CREATE", DomainArgs, Void>;
using DomainCreateWithFlags =
    Procedure<196, "DOMAIN_CREATE_WITH_FLAGS", DomainFlagsArgs, DomainRet>;
using DomainCreateXml = Procedure<10, "DOMAIN_CREATE_XML", TextFlagsArgs, DomainRet>;
using DomainUndefine = Procedure<35, "DOMAIN_UNDEFINE", DomainArgs, Void>;
using DomainUndefineFlags = Procedure<231, "DOMAIN_UNDEFINE_FLAGS", DomainFlagsArgs, Void>;
using DomainDestroy = Procedure<12, "DOMAIN_DESTROY", DomainArgs, Void>;
using DomainDestroyFlags = Procedure<234, "DOMAIN_DESTROY_FLAGS", DomainFlagsArgs, Void>;
using DomainSuspend = Procedure<34, "DOMAIN_SUSPEND", DomainArgs, Void>;
using DomainResume = Procedure<28, "DOMAIN_RESUME", DomainArgs, Void>;
using DomainShutdown = Procedure<33, "DOMAIN_SHUTDOWN", DomainArgs, Void>;
using DomainShutdownFlags = Procedure<258, "DOMAIN_SHUTDOWN_FLAGS", DomainFlagsArgs, Void>;
using DomainGetAutostart = Procedure<15, "DOMAIN_GET_AUTOSTART", DomainArgs, BoolRet>;
using DomainSetAutostart = Procedure<29, "DOMAIN_SET_AUTOSTART", AutostartArgs, Void>;

}  // namespace vmferry::proto
