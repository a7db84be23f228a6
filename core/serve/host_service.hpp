#pragma once
// Answers libvirt's remote protocol from a Host: one object per client connection. Every procedure
// is an overload of on(); kProcedures in host_service.cpp lists them.
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "core/host/open.hpp"
#include "core/proto/connect.hpp"
#include "core/proto/domain.hpp"
#include "core/proto/event.hpp"
#include "core/proto/job.hpp"
#include "core/proto/migrate.hpp"
#include "core/proto/node.hpp"
#include "core/rpc/serve.hpp"

namespace vmferry::serve {

/// DOMAIN_GET_OS_TYPE: only servers need it.
using DomainGetOsType =
    proto::Procedure<13, "DOMAIN_GET_OS_TYPE", proto::DomainArgs, proto::TextRet>;

class HostService final : public rpc::Service {
 public:
  /// `open` gets the name that the client gave to CONNECT_OPEN, empty for none. `peer` outlives us.
  HostService(rpc::Peer& peer, Opener open) : peer_(peer), open_(std::move(open)) {}

  /// Every procedure that is answered, ascending.
  static std::span<const std::int32_t> procedures();

  Task<Bytes> call(std::int32_t procedure, Bytes payload, rpc::Opened& opened) override;
  bool busy() const override { return !leaving_.empty() || coming_ > 0; }

  // -- the connection (connect.cpp) -------------------------------------------------------------
  Task<proto::AuthListRet> on(proto::AuthList, proto::Void);
  Task<proto::Void> on(proto::ConnectOpen, proto::OpenArgs args);
  Task<proto::Void> on(proto::ConnectClose, proto::Void);
  Task<proto::BoolRet> on(proto::ConnectSupportsFeature, proto::FeatureArgs args);
  Task<proto::TextRet> on(proto::ConnectGetType, proto::Void);
  Task<proto::U64Ret> on(proto::ConnectGetVersion, proto::Void);
  Task<proto::U64Ret> on(proto::ConnectGetLibVersion, proto::Void);
  Task<proto::TextRet> on(proto::ConnectGetHostname, proto::Void);
  Task<proto::TextRet> on(proto::ConnectGetUri, proto::Void);
  Task<proto::BoolRet> on(proto::ConnectIsSecure, proto::Void);
  Task<proto::TextRet> on(proto::ConnectGetCapabilities, proto::Void);
  Task<proto::TextRet> on(proto::ConnectGetDomainCapabilities, proto::DomainCapabilitiesArgs args);
  Task<proto::NodeInfoRet> on(proto::NodeGetInfo, proto::Void);
  Task<proto::U64Ret> on(proto::NodeGetFreeMemory, proto::Void);
  Task<proto::SecurityModelRet> on(proto::NodeGetSecurityModel, proto::Void);
  Task<proto::Void> on(proto::ConnectRegisterCloseCallback, proto::Void);
  Task<proto::Void> on(proto::ConnectUnregisterCloseCallback, proto::Void);
  Task<proto::IntRet> on(proto::EventRegister, proto::EventRegisterArgs args);
  Task<proto::Void> on(proto::EventDeregister, proto::IntArgs args);
  Task<proto::IntRet> on(proto::EventRegisterLegacy, proto::Void);
  Task<proto::IntRet> on(proto::EventDeregisterLegacy, proto::Void);
  Task<proto::Void> on(proto::EventRegisterAny, proto::IntArgs args);
  Task<proto::Void> on(proto::EventDeregisterAny, proto::IntArgs args);

  // -- domains (domains.cpp) --------------------------------------------------------------------
  Task<proto::DomainRet> on(proto::DomainLookupById, proto::IntArgs args);
  Task<proto::DomainRet> on(proto::DomainLookupByName, proto::TextArgs args);
  Task<proto::DomainRet> on(proto::DomainLookupByUuid, proto::UuidArgs args);
  Task<proto::ListAllDomainsRet> on(proto::ConnectListAllDomains, proto::ListArgs args);
  Task<proto::ListDomainsRet> on(proto::ConnectListDomains, proto::IntArgs args);
  Task<proto::IntRet> on(proto::ConnectNumOfDomains, proto::Void);
  Task<proto::NamesRet> on(proto::ConnectListDefinedDomains, proto::IntArgs args);
  Task<proto::IntRet> on(proto::ConnectNumOfDefinedDomains, proto::Void);
  Task<proto::DomainInfoRet> on(proto::DomainGetInfo, proto::DomainArgs args);
  Task<proto::DomainStateRet> on(proto::DomainGetState, proto::DomainFlagsArgs args);
  Task<proto::TextRet> on(proto::DomainGetXmlDesc, proto::DomainFlagsArgs args);
  Task<proto::TextRet> on(DomainGetOsType, proto::DomainArgs args);
  Task<proto::BoolRet> on(proto::DomainIsActive, proto::DomainArgs args);
  Task<proto::BoolRet> on(proto::DomainIsPersistent, proto::DomainArgs args);
  Task<proto::BoolRet> on(proto::DomainGetAutostart, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainSetAutostart, proto::AutostartArgs args);
  Task<proto::BoolRet> on(proto::DomainIsUpdated, proto::DomainArgs args);
  Task<proto::BoolRet> on(proto::DomainHasManagedSave, proto::DomainFlagsArgs args);
  Task<proto::IntRet> on(proto::DomainSnapshotNum, proto::DomainFlagsArgs args);
  Task<proto::SecurityLabelRet> on(proto::DomainGetSecurityLabel, proto::DomainArgs args);
  Task<proto::DomainRet> on(proto::DomainCreateXml, proto::TextFlagsArgs args);
  Task<proto::DomainRet> on(proto::DomainDefineXml, proto::TextArgs args);
  Task<proto::DomainRet> on(proto::DomainDefineXmlFlags, proto::TextFlagsArgs args);
  Task<proto::Void> on(proto::DomainCreate, proto::DomainArgs args);
  Task<proto::DomainRet> on(proto::DomainCreateWithFlags, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainUndefine, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainUndefineFlags, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainDestroy, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainDestroyFlags, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainSuspend, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainResume, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainShutdown, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainShutdownFlags, proto::DomainFlagsArgs args);

  // -- jobs (jobs.cpp) --------------------------------------------------------------------------
  Task<proto::JobInfoRet> on(proto::DomainGetJobInfo, proto::DomainArgs args);
  Task<proto::JobStatsRet> on(proto::DomainGetJobStats, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainAbortJob, proto::DomainArgs args);
  Task<proto::Void> on(proto::DomainAbortJobFlags, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainSetMaxDowntime, proto::DomainValueArgs args);
  Task<proto::U64Ret> on(proto::DomainGetMaxDowntime, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainSetMaxSpeed, proto::DomainValueArgs args);
  Task<proto::U64Ret> on(proto::DomainGetMaxSpeed, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainSetCompressionCache, proto::DomainValueArgs args);
  Task<proto::U64Ret> on(proto::DomainGetCompressionCache, proto::DomainFlagsArgs args);
  Task<proto::Void> on(proto::DomainStartPostCopy, proto::DomainFlagsArgs args);

  // -- the phases (phases.cpp) ------------------------------------------------------------------
  Task<proto::PrepareRet> on(proto::MigratePrepare, proto::PrepareArgs args);
  Task<proto::Void> on(proto::MigratePerform, proto::PerformArgs args);
  Task<proto::DomainRet> on(proto::MigrateFinish, proto::FinishArgs args);
  Task<proto::PrepareRet> on(proto::MigratePrepare2, proto::Prepare2Args args);
  Task<proto::DomainRet> on(proto::MigrateFinish2, proto::Finish2Args args);
  Task<proto::BeginRet> on(proto::MigrateBegin3, proto::Begin3Args args);
  Task<proto::PrepareRet> on(proto::MigratePrepare3, proto::Prepare3Args args);
  Task<proto::CookieRet> on(proto::MigratePerform3, proto::Perform3Args args);
  Task<proto::FinishRet> on(proto::MigrateFinish3, proto::Finish3Args args);
  Task<proto::Void> on(proto::MigrateConfirm3, proto::Confirm3Args args);
  Task<proto::BeginRet> on(proto::MigrateBegin3Params, proto::Begin3ParamsArgs args);
  Task<proto::PrepareRet> on(proto::MigratePrepare3Params, proto::Prepare3ParamsArgs args);
  Task<proto::CookieRet> on(proto::MigratePerform3Params, proto::Perform3ParamsArgs args);
  Task<proto::FinishRet> on(proto::MigrateFinish3Params, proto::Finish3ParamsArgs args);
  Task<proto::Void> on(proto::MigrateConfirm3Params, proto::Confirm3ParamsArgs args);
  Task<proto::Void> on(proto::MigratePrepareTunnel, proto::PrepareTunnelArgs args,
                       rpc::Opened& opened);
  Task<proto::CookieRet> on(proto::MigratePrepareTunnel3, proto::PrepareTunnel3Args args,
                            rpc::Opened& opened);
  Task<proto::CookieRet> on(proto::MigratePrepareTunnel3Params, proto::Prepare3ParamsArgs args,
                            rpc::Opened& opened);

 private:
  Host& host();  ///< Errors: not open
  Task<bool> host_supports(proto::Feature feature);
  Task<> listen_legacy(std::int32_t event_id);
  void tell(std::int32_t callback, std::int32_t event_id, const DomainEvent& event);
  Task<proto::BeginRet> begin(const PhaseCall& call);
  Task<proto::PrepareRet> prepare(const PhaseCall& call, const Cookie& cookie);
  Task<Cookie> prepare_tunnel(const PhaseCall& call, const Cookie& cookie, rpc::Opened& opened);
  Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                       std::optional<std::string> dconnuri);
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, bool cancelled);
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, bool cancelled);

  rpc::Peer& peer_;
  Opener open_;
  bool opening_ = false, read_only_ = false;
  std::unique_ptr<Host> host_;
  std::map<std::int32_t, std::unique_ptr<Subscription>> callbacks_;
  std::int32_t next_callback_ = 0;
  std::map<std::int32_t, std::unique_ptr<Subscription>> legacy_;  // by event id
  // Migrations between their first and last phase here.
  std::set<Uuid> leaving_;
  int coming_ = 0;
};

/// Serves one client over `stream` until it leaves; see rpc::serve. `open` makes its Host.
Task<Result<>> serve_client(std::unique_ptr<Stream> stream, Clock& clock, Opener open,
                            rpc::ServeOptions options = {});

}  // namespace vmferry::serve
