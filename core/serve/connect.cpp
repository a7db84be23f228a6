// The connection, the host, and events.
#include "core/proto/convert.hpp"
#include "core/serve/host_service.hpp"

namespace vmferry::serve {

using namespace proto;

static Error internal_error(const char* text) {
  Error error(ErrorId::invalid_state, std::string("internal error: ") + text);
  error.wire = {kInternalError, kFromRpc};
  return error;
}

Host& HostService::host() {
  if (!host_) throw internal_error("connection not open");
  return *host_;
}

// Who may reach the socket is a matter of its file's permissions.
Task<AuthListRet> HostService::on(AuthList, Void) {
  co_return AuthListRet{std::vector<AuthType>{AuthType::none}};
}

Task<Void> HostService::on(ConnectOpen, OpenArgs args) {
  if (opening_) throw internal_error("connection already open");
  if ((args.flags & kOpenReadOnly) != 0) read_only_ = true;
  opening_ = true;
  Task<std::unique_ptr<Host>> opened = open_(from_wire(args.name).value_or(""));
  Result<std::unique_ptr<Host>> made = co_await settle(std::move(opened));
  if (!made) {
    opening_ = false;
    read_only_ = false;
    throw std::move(made).error();
  }
  host_ = *std::move(made);
  co_return Void{};
}

Task<Void> HostService::on(ConnectClose, Void) {
  peer_.finish();
  co_return Void{};
}

Task<bool> HostService::host_supports(Feature feature) {
  const HostFeatures f = co_await host().features();
  switch (feature) {
    case Feature::migration_v1:
      co_return f.v1;
    case Feature::migration_v2:
      co_return f.v2;
    case Feature::migration_v3:
      co_return f.v3;
    case Feature::migration_params:
      co_return f.v3_params;
    case Feature::migration_p2p:
      co_return f.p2p;
    case Feature::migration_direct:
      co_return f.direct;
    case Feature::migration_offline:
      co_return f.offline;
    case Feature::change_protection:
      co_return f.change_protection;
    case Feature::xml_migratable:
      co_return f.xml_migratable;
    default:
      co_return false;
  }
}

Task<BoolRet> HostService::on(ConnectSupportsFeature, FeatureArgs args) {
  switch (args.feature) {
    case Feature::keepalive:
      peer_.start_keepalive();
      co_return BoolRet{true};
    case Feature::typed_param_string:
    case Feature::event_callback:
    case Feature::close_callback:
      co_return BoolRet{true};
    default: {
      const bool yes = co_await host_supports(args.feature);
      co_return BoolRet{yes};
    }
  }
}

Task<TextRet> HostService::on(ConnectGetType, Void) {
  HostIdentity id = co_await host().identity();
  co_return TextRet{std::move(id.driver)};
}
Task<U64Ret> HostService::on(ConnectGetVersion, Void) {
  const HostIdentity id = co_await host().identity();
  co_return U64Ret{id.hypervisor_version};
}
Task<U64Ret> HostService::on(ConnectGetLibVersion, Void) {
  const HostIdentity id = co_await host().identity();
  co_return U64Ret{id.library_version};
}
Task<TextRet> HostService::on(ConnectGetHostname, Void) {
  HostIdentity id = co_await host().identity();
  co_return TextRet{std::move(id.hostname)};
}
Task<TextRet> HostService::on(ConnectGetUri, Void) {
  HostIdentity id = co_await host().identity();
  co_return TextRet{std::move(id.uri)};
}

// What carries the bytes (a unix socket, ssh) is not known here, so nothing is promised.
Task<BoolRet> HostService::on(ConnectIsSecure, Void) { co_return BoolRet{false}; }

Task<TextRet> HostService::on(ConnectGetCapabilities, Void) {
  std::string xml = co_await host().capabilities();
  co_return TextRet{std::move(xml)};
}

Task<TextRet> HostService::on(ConnectGetDomainCapabilities, DomainCapabilitiesArgs args) {
  const auto text = [](const MaybeStr& s) { return from_wire(s).value_or(""); };
  Task<std::string> asked = host().domain_capabilities(text(args.emulator), text(args.arch),
                                                       text(args.machine), text(args.virttype));
  std::string xml = co_await std::move(asked);
  co_return TextRet{std::move(xml)};
}

Task<NodeInfoRet> HostService::on(NodeGetInfo, Void) {
  const NodeInfo n = co_await host().node_info();
  co_return NodeInfoRet{
      {n.model.substr(0, 31)}, n.memory_kib, n.cpus, n.mhz, n.nodes, n.sockets, n.cores, n.threads};
}

Task<U64Ret> HostService::on(NodeGetFreeMemory, Void) {
  const std::uint64_t bytes = co_await host().free_memory();
  co_return U64Ret{bytes};
}

// A host of this process goes when we go, and then the client sees its connection end: there is
// nothing more to tell.
Task<Void> HostService::on(ConnectRegisterCloseCallback, Void) {
  (void)host();
  co_return Void{};
}
Task<Void> HostService::on(ConnectUnregisterCloseCallback, Void) {
  (void)host();
  co_return Void{};
}

Task<SecurityModelRet> HostService::on(NodeGetSecurityModel, Void) {
  (void)host();
  co_return SecurityModelRet{};
}

// -- events ---------------------------------------------------------------------------------------

void HostService::tell(std::int32_t callback, std::int32_t event_id, const DomainEvent& event) {
  const Domain dom = to_wire(event.domain);
  const auto send = [this](std::int32_t procedure, const auto& body) {
    const auto bytes = xdr::encode(body);
    if (bytes) peer_.send_event(procedure, *bytes);  // else it is too big to be told
  };
  using Kind = DomainEvent::Kind;
  if (event_id == kEventIdLifecycle && event.kind == Kind::lifecycle)
    send(EventLifecycle::number, LifecycleBody{callback, dom, event.event, event.detail});
  else if (event_id == kEventIdIteration && event.kind == Kind::iteration)
    send(EventIteration::number, IterationBody{callback, dom, event.iteration});
  else if (event_id == kEventIdJobCompleted && event.kind == Kind::job_completed)
    send(EventJobCompleted::number, JobCompletedBody{callback, dom, {to_wire(event.stats.fields)}});
}

Task<IntRet> HostService::on(EventRegister, EventRegisterArgs args) {
  // libvirt's highest identifier; those that never happen here are accepted all the same.
  if (args.event_id < 0 || args.event_id > 27)
    throw Error(ErrorId::usage, "unsupported event ID " + std::to_string(args.event_id));
  if (callbacks_.size() >= 256) throw Error(ErrorId::refused, "too many event callbacks");
  const std::int32_t callback = next_callback_++;
  callbacks_.emplace(callback, nullptr);  // its place, while subscribe() is under way
  const DomainRef domain = args.dom.v ? from_wire(*args.dom.v) : DomainRef{};
  OnEvent told = [this, callback, id = args.event_id](const DomainEvent& event) {
    tell(callback, id, event);
  };
  Task<std::unique_ptr<Subscription>> asked = host().subscribe(domain, std::move(told));
  auto subscription = co_await settle(std::move(asked));
  if (!subscription) {
    callbacks_.erase(callback);
    throw std::move(subscription).error();
  }
  callbacks_[callback] = *std::move(subscription);
  co_return IntRet{callback};
}

Task<Void> HostService::on(EventDeregister, IntArgs args) {
  if (callbacks_.erase(args.value) == 0)
    throw Error(ErrorId::usage,
                "domain event callback " + std::to_string(args.value) + " not registered");
  co_return Void{};
}

// The older kind: no callback numbers, every domain, one registration for each event. Of those 16
// events only the life cycle happens here; the others are accepted and never come.
Task<> HostService::listen_legacy(std::int32_t event_id) {
  if (event_id < 0 || event_id > kLegacyEventMax)
    throw Error(ErrorId::usage, "unsupported event ID " + std::to_string(event_id));
  const auto [place, fresh] = legacy_.try_emplace(event_id, nullptr);
  if (!fresh)
    throw Error(ErrorId::usage, "domain event " + std::to_string(event_id) + " already registered");
  OnEvent told = [this, event_id](const DomainEvent& event) {
    if (event_id != kEventIdLifecycle || event.kind != DomainEvent::Kind::lifecycle) return;
    const auto body =
        xdr::encode(LegacyLifecycleBody{to_wire(event.domain), event.event, event.detail});
    if (body) peer_.send_event(LegacyLifecycle::number, *body);
  };
  const DomainRef every;
  Task<std::unique_ptr<Subscription>> asked = host().subscribe(every, std::move(told));
  auto subscription = co_await settle(std::move(asked));
  if (!subscription) {
    legacy_.erase(event_id);
    throw std::move(subscription).error();
  }
  legacy_[event_id] = *std::move(subscription);
}

static Error not_registered(std::int32_t event_id) {
  return Error(ErrorId::usage, "domain event " + std::to_string(event_id) + " not registered");
}

Task<IntRet> HostService::on(EventRegisterLegacy, Void) {
  co_await listen_legacy(kEventIdLifecycle);
  co_return IntRet{1};
}
Task<IntRet> HostService::on(EventDeregisterLegacy, Void) {
  if (legacy_.erase(kEventIdLifecycle) == 0) throw not_registered(kEventIdLifecycle);
  co_return IntRet{0};
}
Task<Void> HostService::on(EventRegisterAny, IntArgs args) {
  co_await listen_legacy(args.value);
  co_return Void{};
}
Task<Void> HostService::on(EventDeregisterAny, IntArgs args) {
  if (legacy_.erase(args.value) == 0) throw not_registered(args.value);
  co_return Void{};
}

}  // namespace vmferry::serve
