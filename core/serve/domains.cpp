// Look-up, state and life cycle of domains.
#include <limits>

#include "core/proto/convert.hpp"
#include "core/serve/host_service.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::serve {

using namespace proto;

namespace {

Error no_domain(std::string text) {
  return Error(ErrorId::no_domain, "Domain not found: no domain with matching " + std::move(text));
}

}  // namespace

Task<DomainRet> HostService::on(DomainLookupById, IntArgs args) {
  const auto active = co_await host().list(true, false);
  for (const ListedDomain& d : active)
    if (d.domain.id == args.value) co_return DomainRet{to_wire(d.domain)};
  throw no_domain("id " + std::to_string(args.value));
}

Task<DomainRet> HostService::on(DomainLookupByName, TextArgs args) {
  const auto all = co_await host().list(true, true);
  for (const ListedDomain& d : all)
    if (d.domain.name == args.text.v) co_return DomainRet{to_wire(d.domain)};
  throw no_domain("name '" + args.text.v + "'");
}

Task<DomainRet> HostService::on(DomainLookupByUuid, UuidArgs args) {
  const std::string text = to_string(Uuid{args.uuid.v});
  const DomainRef found = co_await host().find(text);
  co_return DomainRet{to_wire(found)};
}

Task<ListAllDomainsRet> HostService::on(ConnectListAllDomains, ListArgs args) {
  if ((args.flags >> 16) != 0) throw Error(ErrorId::usage, "unsupported flags");
  const auto all = co_await host().list_matching(args.flags);
  ListAllDomainsRet ret;
  for (const ListedDomain& d : all) {
    ++ret.ret;
    if (args.need_results) ret.domains.v.push_back(to_wire(d.domain));
  }
  co_return ret;
}

Task<ListDomainsRet> HostService::on(ConnectListDomains, IntArgs args) {
  const auto active = co_await host().list(true, false);
  ListDomainsRet ret;
  for (const ListedDomain& d : active)
    if (std::cmp_less(ret.ids.v.size(), args.value)) ret.ids.v.push_back(d.domain.id);
  co_return ret;
}

Task<IntRet> HostService::on(ConnectNumOfDomains, Void) {
  const auto active = co_await host().list(true, false);
  co_return IntRet{static_cast<std::int32_t>(active.size())};
}

Task<NamesRet> HostService::on(ConnectListDefinedDomains, IntArgs args) {
  const auto inactive = co_await host().list(false, true);
  NamesRet ret;
  for (const ListedDomain& d : inactive)
    if (std::cmp_less(ret.names.v.size(), args.value)) ret.names.v.emplace_back(d.domain.name);
  co_return ret;
}

Task<IntRet> HostService::on(ConnectNumOfDefinedDomains, Void) {
  const auto inactive = co_await host().list(false, true);
  co_return IntRet{static_cast<std::int32_t>(inactive.size())};
}

Task<DomainInfoRet> HostService::on(DomainGetInfo, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const DomainInfo info = co_await host().info(domain);
  constexpr std::uint32_t most = std::numeric_limits<std::uint16_t>::max();
  co_return DomainInfoRet{static_cast<std::uint8_t>(info.state), info.max_memory_kib,
                          info.memory_kib, static_cast<std::uint16_t>(std::min(info.vcpus, most)),
                          info.cpu_time_ns};
}

Task<DomainStateRet> HostService::on(DomainGetState, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const DomainStatus status = co_await host().status(domain);
  co_return DomainStateRet{std::to_underlying(status.state), status.reason};
}

Task<TextRet> HostService::on(DomainGetXmlDesc, DomainFlagsArgs args) {
  if (read_only_ && (args.flags & kXmlSecure) != 0) {
    Error error(ErrorId::denied, "operation forbidden: secrets need a connection that may write");
    error.wire.code = kOperationDenied;
    throw error;
  }
  const DomainRef domain = from_wire(args.dom);
  std::string xml = co_await host().dump_xml(domain, args.flags);
  co_return TextRet{std::move(xml)};
}

Task<TextRet> HostService::on(DomainGetOsType, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const std::string text = co_await host().dump_xml(domain, 0);
  xml::Domain parsed = value_or_throw(xml::parse_domain(text));
  co_return TextRet{std::move(parsed.os_type)};
}

Task<BoolRet> HostService::on(DomainIsActive, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const DomainStatus status = co_await host().status(domain);
  co_return BoolRet{status.active()};
}

Task<BoolRet> HostService::on(DomainIsPersistent, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool yes = co_await host().is_persistent(domain);
  co_return BoolRet{yes};
}

Task<BoolRet> HostService::on(DomainGetAutostart, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool yes = co_await host().autostart(domain);
  co_return BoolRet{yes};
}

Task<Void> HostService::on(DomainSetAutostart, AutostartArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().set_autostart(domain, args.autostart);
  co_return Void{};
}

// There are no snapshots or labels here, and a definition is what it is; but whether the domain
// exists is still asked.
Task<BoolRet> HostService::on(DomainIsUpdated, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().status(domain);
  co_return BoolRet{false};
}
Task<BoolRet> HostService::on(DomainHasManagedSave, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool saved = co_await host().has_managed_save(domain);
  co_return BoolRet{saved};
}
Task<IntRet> HostService::on(DomainSnapshotNum, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().status(domain);
  co_return IntRet{0};
}
Task<SecurityLabelRet> HostService::on(DomainGetSecurityLabel, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().status(domain);
  co_return SecurityLabelRet{};
}

// A transient domain: defined, started, and its definition taken away again.
Task<DomainRet> HostService::on(DomainCreateXml, TextFlagsArgs args) {
  constexpr std::uint32_t kPaused = 1;
  if ((args.flags & ~kPaused) != 0) throw Error(ErrorId::usage, "unsupported flags");
  const xml::Domain parsed = value_or_throw(xml::parse_domain(args.text.v));
  const auto known = co_await settle(host().find(parsed.name));
  if (known)
    throw Error(ErrorId::exists,
                "domain '" + parsed.name + "' already exists with uuid " + to_string(known->uuid));
  DomainRef domain = co_await host().define(std::move(args.text.v), DefineFlags::none);
  const auto started = co_await settle(host().start(domain, args.flags));
  const auto forgotten = co_await settle(host().undefine(domain, 0));
  if (!started) throw Error(started.error());
  if (!forgotten) throw Error(forgotten.error());
  const std::string uuid = to_string(domain.uuid);
  domain = co_await host().find(uuid);  // it has an id now
  co_return DomainRet{to_wire(domain)};
}

Task<DomainRet> HostService::on(DomainDefineXml, TextArgs args) {
  const DomainRef domain = co_await host().define(std::move(args.text.v), DefineFlags::none);
  co_return DomainRet{to_wire(domain)};
}

Task<DomainRet> HostService::on(DomainDefineXmlFlags, TextFlagsArgs args) {
  const auto flags = static_cast<DefineFlags>(args.flags);
  const DomainRef domain = co_await host().define(std::move(args.text.v), flags);
  co_return DomainRet{to_wire(domain)};
}

Task<Void> HostService::on(DomainCreate, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().start(domain, 0);
  co_return Void{};
}

Task<DomainRet> HostService::on(DomainCreateWithFlags, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().start(domain, args.flags);
  const std::string uuid = to_string(domain.uuid);
  const DomainRef started = co_await host().find(uuid);  // it has an id now
  co_return DomainRet{to_wire(started)};
}

Task<Void> HostService::on(DomainUndefine, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().undefine(domain, 0);
  co_return Void{};
}

Task<Void> HostService::on(DomainUndefineFlags, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().undefine(domain, args.flags);
  co_return Void{};
}

Task<Void> HostService::on(DomainDestroy, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().destroy(domain, 0);
  co_return Void{};
}

Task<Void> HostService::on(DomainDestroyFlags, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().destroy(domain, args.flags);
  co_return Void{};
}

Task<Void> HostService::on(DomainSuspend, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().suspend(domain);
  co_return Void{};
}

Task<Void> HostService::on(DomainResume, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().resume(domain);
  co_return Void{};
}

Task<Void> HostService::on(DomainShutdown, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().shutdown(domain);
  co_return Void{};
}

Task<Void> HostService::on(DomainShutdownFlags, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().shutdown_by(domain, args.flags);
  co_return Void{};
}

}  // namespace vmferry::serve
