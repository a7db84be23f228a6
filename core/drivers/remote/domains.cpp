// Look-up, state and life cycle of domains.
#include <algorithm>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/domain.hpp"

namespace vmferry {

using namespace proto;

// As virsh: digits are an id first, 36 characters a UUID; then it is a name.
Task<DomainRef> RemoteHost::find(std::string text) {
  if (const auto id = parse_number<std::int32_t>(text); id && *id >= 0) {
    auto by_id = co_await settle(client_->call<DomainLookupById>({*id}));
    if (by_id) co_return from_wire(by_id->dom);
    if (by_id.error().id != ErrorId::no_domain) throw std::move(by_id).error();
  }
  const auto uuid = text.size() == 36 ? parse_uuid(text) : std::nullopt;
  if (uuid) {
    auto by_uuid = co_await settle(client_->call<DomainLookupByUuid>({uuid->bytes}));
    if (by_uuid) co_return from_wire(by_uuid->dom);
    if (by_uuid.error().id != ErrorId::no_domain) throw std::move(by_uuid).error();
  }
  const DomainRet ret = co_await client_->call<DomainLookupByName>({Str(std::move(text))});
  co_return from_wire(ret.dom);
}

// Most guests by far are defined and running: one list tells both of them all, in the flight that
// looks the guest up. (More guests than a list can hold are an error, which tells nothing.)
Task<FoundDomain> RemoteHost::look_up(std::string text, bool reason) {
  ListArgs plain;
  plain.flags = listing::persistent | listing::running;
  FoundDomain found;
  Task<Result<ListAllDomainsRet>> listing = settle(client_->call<ConnectListAllDomains>(plain));
  auto [domain, list] = co_await both(find(std::move(text)), std::move(listing));
  found.domain = std::move(domain);
  const auto is_it = [&](const Domain& d) { return from_wire(d).uuid == found.domain.uuid; };
  if (list && !reason && std::ranges::any_of(list->domains.v, is_it)) {
    found.status.state = DomainState::running;
    found.persistent = true;
    co_return found;
  }
  auto [status, persistent] =
      co_await both(this->status(found.domain), is_persistent(found.domain));
  found.status = status;
  found.persistent = persistent;
  co_return found;
}

Task<DomainStatus> RemoteHost::status(const DomainRef& domain) {
  const DomainStateRet ret = co_await client_->call<DomainGetState>({to_wire(domain), 0});
  co_return DomainStatus{static_cast<DomainState>(ret.state), ret.reason};
}

namespace {

Task<bool> fill(RemoteHost& host, std::vector<ListedDomain>& all, std::size_t first) {
  // Every third one: as many askers as calls may be under way.
  for (std::size_t i = first; i < all.size(); i += 3) {
    const auto status = co_await settle(host.status(all[i].domain));
    if (status)
      all[i].status = *status;
    else if (status.error().id != ErrorId::no_domain)
      throw Error(status.error());
    // One that went away meanwhile has no state.
  }
  co_return true;
}

}  // namespace

Task<std::vector<ListedDomain>> RemoteHost::list(bool active, bool inactive) {
  std::uint32_t flags = 0;
  if (active != inactive) flags = active ? listing::active : listing::inactive;
  return list_matching(flags);
}

Task<std::vector<ListedDomain>> RemoteHost::list_matching(std::uint32_t flags) {
  ListArgs args;
  args.flags = flags;
  const ListAllDomainsRet ret = co_await client_->call<ConnectListAllDomains>(args);
  std::vector<ListedDomain> all;
  all.reserve(ret.domains.v.size());
  for (const Domain& d : ret.domains.v) all.push_back({from_wire(d), {}});
  co_await both(both(fill(*this, all, 0), fill(*this, all, 1)), fill(*this, all, 2));
  co_return all;
}

Task<DomainInfo> RemoteHost::info(const DomainRef& domain) {
  const DomainInfoRet ret = co_await client_->call<DomainGetInfo>({to_wire(domain)});
  co_return DomainInfo{static_cast<DomainState>(ret.state), ret.max_memory_kib, ret.memory_kib,
                       ret.vcpus, ret.cpu_time_ns};
}

Task<bool> RemoteHost::is_persistent(const DomainRef& domain) {
  const BoolRet ret = co_await client_->call<DomainIsPersistent>({to_wire(domain)});
  co_return ret.value;
}

Task<bool> RemoteHost::autostart(const DomainRef& domain) {
  const BoolRet ret = co_await client_->call<DomainGetAutostart>({to_wire(domain)});
  co_return ret.value;
}

Task<bool> RemoteHost::has_managed_save(const DomainRef& domain) {
  const BoolRet ret = co_await client_->call<DomainHasManagedSave>({to_wire(domain), 0});
  co_return ret.value;
}

namespace {
// A C string with its NUL, as libvirt sends it.
std::string text_of(const Bytes& chars) {
  std::string out;
  for (const std::byte b : chars) {
    if (b == std::byte{}) break;
    out += static_cast<char>(std::to_integer<unsigned char>(b));
  }
  return out;
}
}  // namespace

// Each of them is missing in some driver or release; the others count all the same.
Task<DomainExtras> RemoteHost::extras(const DomainRef& domain) {
  auto [saved, model] = co_await both(settle(has_managed_save(domain)),
                                      settle(client_->call<NodeGetSecurityModel>({})));
  auto [label, messages] =
      co_await both(settle(client_->call<DomainGetSecurityLabel>({to_wire(domain)})),
                    settle(client_->call<DomainGetMessages>({to_wire(domain), 0})));
  DomainExtras out;
  out.managed_save = saved && *saved;
  if (model) {
    out.security_model = text_of(model->model.v);
    out.security_doi = text_of(model->doi.v);
  }
  if (label) {
    out.security_label = text_of(label->label.v);
    out.enforcing = label->enforcing;
  }
  if (messages)
    for (const Str& m : messages->messages.v) out.messages.push_back(m.v);
  co_return out;
}

Task<> RemoteHost::set_autostart(const DomainRef& domain, bool on) {
  AutostartArgs args{to_wire(domain), on};
  co_await client_->call<DomainSetAutostart>(std::move(args));
}

Task<std::string> RemoteHost::dump_xml(const DomainRef& domain, std::uint32_t xml_flags) {
  TextRet ret = co_await client_->call<DomainGetXmlDesc>({to_wire(domain), xml_flags});
  co_return std::move(ret.text.v);
}

Task<DomainRef> RemoteHost::define(std::string xml, DefineFlags flags) {
  TextFlagsArgs args{Str(std::move(xml)), std::to_underlying(flags)};
  const DomainRet ret = co_await client_->call<DomainDefineXmlFlags>(std::move(args));
  co_return from_wire(ret.dom);
}

Task<> RemoteHost::undefine(const DomainRef& domain, std::uint32_t flags) {
  co_await client_->call<DomainUndefineFlags>({to_wire(domain), flags});
}

Task<> RemoteHost::start(const DomainRef& domain, std::uint32_t flags) {
  co_await client_->call<DomainCreateWithFlags>({to_wire(domain), flags});
}

Task<> RemoteHost::suspend(const DomainRef& domain) {
  co_await client_->call<DomainSuspend>({to_wire(domain)});
}

Task<> RemoteHost::resume(const DomainRef& domain) {
  co_await client_->call<DomainResume>({to_wire(domain)});
}

Task<> RemoteHost::shutdown(const DomainRef& domain) { return shutdown_by(domain, 0); }

Task<> RemoteHost::shutdown_by(const DomainRef& domain, std::uint32_t modes) {
  co_await client_->call<DomainShutdownFlags>({to_wire(domain), modes});
}

Task<> RemoteHost::destroy(const DomainRef& domain, std::uint32_t flags) {
  co_await client_->call<DomainDestroyFlags>({to_wire(domain), flags});
}

}  // namespace vmferry
