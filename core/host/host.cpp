#include "core/host/host.hpp"

#include "core/async/race.hpp"

namespace vmferry {

namespace {
bool in_group(std::uint32_t flags, std::uint32_t group, std::uint32_t mine) {
  return (flags & group) == 0 || (flags & mine) != 0;
}

std::uint32_t state_bit(DomainState state) {
  if (state == DomainState::running) return listing::running;
  if (state == DomainState::paused) return listing::paused;
  return state == DomainState::shutoff ? listing::shutoff : listing::other;
}

// What can be said of a domain from its status alone.
bool wanted(const ListedDomain& d, std::uint32_t flags) {
  using namespace listing;
  return in_group(flags, active | inactive, d.domain.id >= 0 ? active : inactive) &&
         in_group(flags, running | paused | shutoff | other, state_bit(d.status.state)) &&
         in_group(flags, managed_save | no_managed_save, no_managed_save) &&
         in_group(flags, snapshot | no_snapshot, no_snapshot) &&
         in_group(flags, checkpoint | no_checkpoint, no_checkpoint);
}

Task<bool> wanted_too(Host& host, const DomainRef& domain, std::uint32_t flags) {
  using namespace listing;
  if ((flags & (persistent | transient)) != 0) {
    const bool is = co_await host.is_persistent(domain);
    if (!in_group(flags, persistent | transient, is ? persistent : transient)) co_return false;
  }
  if ((flags & (autostart | no_autostart)) != 0) {
    const bool is = co_await host.autostart(domain);
    if (!in_group(flags, autostart | no_autostart, is ? autostart : no_autostart)) co_return false;
  }
  co_return true;
}

// A coroutine must not live inside a capturing lambda: the call's copy is its own object here.
struct PlainFinish {
  Host* host;
  std::shared_ptr<const PhaseCall> call;
  Task<Finished> operator()(const Cookie& cookie, Verdict verdict) const {
    return host->finish(*call, cookie, verdict);
  }
};
}  // namespace

ReadyFinish Host::ready_finish(const PhaseCall& call) {
  return PlainFinish{this, std::make_shared<const PhaseCall>(call)};
}

Task<std::vector<ListedDomain>> Host::list_matching(std::uint32_t flags) {
  if ((flags >> 16) != 0) throw Error(ErrorId::unsupported, "unsupported flags of a listing");
  const std::vector<ListedDomain> all = co_await list(true, true);
  std::vector<ListedDomain> out;
  for (const ListedDomain& d : all) {
    if (!wanted(d, flags)) continue;
    Task<bool> asked = wanted_too(*this, d.domain, flags);
    const auto yes = co_await settle(std::move(asked));
    if (yes && *yes) out.push_back(d);  // one that went away meanwhile is not there
  }
  co_return out;
}

Task<bool> Host::has_managed_save(const DomainRef&) { co_return false; }
Task<DomainExtras> Host::extras(const DomainRef&) { co_return DomainExtras{}; }

Task<> Host::shutdown_by(const DomainRef& domain, std::uint32_t modes) {
  if (modes != 0) throw Error(ErrorId::unsupported, "a way of shutting down cannot be chosen here");
  co_await shutdown(domain);
}

Task<> Host::set_autostart(const DomainRef&, bool) {
  throw Error(ErrorId::unsupported, "guests are not started automatically here");
  co_return;
}

Task<Tunnel> Host::prepare_tunnel(const PhaseCall&, const Cookie&) {
  throw Error(ErrorId::unsupported, "this host takes no tunnelled migration");
  co_return Tunnel{};
}

Task<HostBrief> Host::brief(HostNeeds) {
  auto [features, identity] = co_await both(this->features(), this->identity());
  co_return HostBrief{features, std::move(identity)};
}

Task<FoundDomain> Host::look_up(std::string name_id_or_uuid, bool) {
  FoundDomain found;
  found.domain = co_await find(std::move(name_id_or_uuid));
  auto [status, persistent] =
      co_await both(this->status(found.domain), is_persistent(found.domain));
  found.status = status;
  found.persistent = persistent;
  co_return found;
}

Task<std::optional<bool>> Host::ever_started(const DomainRef&, const Cookie&) {
  co_return std::nullopt;
}

}  // namespace vmferry
