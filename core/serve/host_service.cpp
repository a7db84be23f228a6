#include "core/serve/host_service.hpp"

#include <algorithm>

namespace vmferry::serve {

using namespace proto;

namespace {

using All = rpc::Procedures<
    AuthList, ConnectOpen, ConnectClose, ConnectSupportsFeature, ConnectGetType, ConnectGetVersion,
    ConnectGetLibVersion, ConnectGetHostname, ConnectGetUri, ConnectIsSecure,
    ConnectGetCapabilities, ConnectGetDomainCapabilities, NodeGetInfo, NodeGetFreeMemory,
    EventRegister, EventDeregister, DomainLookupById, DomainLookupByName, DomainLookupByUuid,
    ConnectListAllDomains, ConnectListDomains, ConnectNumOfDomains, ConnectListDefinedDomains,
    ConnectNumOfDefinedDomains, DomainGetInfo, DomainGetState, DomainGetXmlDesc, DomainGetOsType,
    DomainIsActive, DomainIsPersistent, DomainGetAutostart, DomainDefineXml, DomainDefineXmlFlags,
    DomainCreate, DomainCreateWithFlags, DomainUndefine, DomainUndefineFlags, DomainDestroy,
    DomainDestroyFlags, DomainSuspend, DomainResume, DomainShutdown, DomainShutdownFlags,
    DomainGetJobInfo, DomainGetJobStats, DomainAbortJob, DomainAbortJobFlags, DomainSetMaxDowntime,
    DomainGetMaxDowntime, DomainSetMaxSpeed, DomainGetMaxSpeed, DomainSetCompressionCache,
    DomainGetCompressionCache, DomainStartPostCopy, MigratePrepare, MigratePerform, MigrateFinish,
    MigratePrepare2, MigrateFinish2, MigrateBegin3, MigratePrepare3, MigratePerform3,
    MigrateFinish3, MigrateConfirm3, MigrateBegin3Params, MigratePrepare3Params,
    MigratePerform3Params, MigrateFinish3Params, MigrateConfirm3Params, MigratePrepareTunnel,
    MigratePrepareTunnel3, MigratePrepareTunnel3Params, ConnectRegisterCloseCallback,
    ConnectUnregisterCloseCallback, NodeGetSecurityModel, EventRegisterLegacy,
    EventDeregisterLegacy, EventRegisterAny, EventDeregisterAny, DomainSetAutostart,
    DomainIsUpdated, DomainHasManagedSave, DomainSnapshotNum, DomainGetSecurityLabel,
    DomainCreateXml>;

// What a read-only connection may call. Everything else is refused, so that a procedure which
// somebody adds is not open to readers by accident.
constexpr std::int32_t kReads[] = {AuthList::number,
                                   ConnectOpen::number,
                                   ConnectClose::number,
                                   ConnectSupportsFeature::number,
                                   ConnectGetType::number,
                                   ConnectGetVersion::number,
                                   ConnectGetLibVersion::number,
                                   ConnectGetHostname::number,
                                   ConnectGetUri::number,
                                   ConnectIsSecure::number,
                                   ConnectGetCapabilities::number,
                                   ConnectGetDomainCapabilities::number,
                                   NodeGetInfo::number,
                                   NodeGetFreeMemory::number,
                                   EventRegister::number,
                                   EventDeregister::number,
                                   EventRegisterLegacy::number,
                                   EventDeregisterLegacy::number,
                                   EventRegisterAny::number,
                                   EventDeregisterAny::number,
                                   ConnectRegisterCloseCallback::number,
                                   ConnectUnregisterCloseCallback::number,
                                   NodeGetSecurityModel::number,
                                   DomainIsUpdated::number,
                                   DomainHasManagedSave::number,
                                   DomainSnapshotNum::number,
                                   DomainGetSecurityLabel::number,
                                   DomainLookupById::number,
                                   DomainLookupByName::number,
                                   DomainLookupByUuid::number,
                                   ConnectListAllDomains::number,
                                   ConnectListDomains::number,
                                   ConnectNumOfDomains::number,
                                   ConnectListDefinedDomains::number,
                                   ConnectNumOfDefinedDomains::number,
                                   DomainGetInfo::number,
                                   DomainGetState::number,
                                   DomainGetXmlDesc::number,
                                   DomainGetOsType::number,
                                   DomainIsActive::number,
                                   DomainIsPersistent::number,
                                   DomainGetAutostart::number,
                                   DomainGetJobInfo::number,
                                   DomainGetJobStats::number,
                                   DomainGetMaxDowntime::number,
                                   DomainGetMaxSpeed::number,
                                   DomainGetCompressionCache::number};

Error denied() {
  Error error(ErrorId::denied, "operation forbidden: read only access prevents it");
  error.wire.code = kOperationDenied;
  return error;
}

std::unique_ptr<rpc::Service> make(rpc::Peer& peer, const Opener& open) {
  return std::make_unique<HostService>(peer, open);
}

}  // namespace

std::span<const std::int32_t> HostService::procedures() {
  static constexpr auto all = All::numbers();
  return all;
}

Task<Bytes> HostService::call(std::int32_t procedure, Bytes payload, rpc::Opened& opened) {
  if (read_only_ && std::ranges::find(kReads, procedure) == std::end(kReads)) throw denied();
  Task<Bytes> body = All::dispatch(*this, procedure, std::move(payload), opened);
  co_return co_await std::move(body);
}

Task<Result<>> serve_client(std::unique_ptr<Stream> stream, Clock& clock, Opener open,
                            rpc::ServeOptions options) {
  const auto service = [open = std::move(open)](rpc::Peer& peer) { return make(peer, open); };
  return rpc::serve(std::move(stream), clock, service, options);
}

}  // namespace vmferry::serve
