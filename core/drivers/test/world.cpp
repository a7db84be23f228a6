#include "core/drivers/test/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "core/drivers/test/reception.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {
// A guest that nobody looked at for long has not executed more than this since: figures stay small.
constexpr Micros kMostAtOnce = std::chrono::seconds(60);
}  // namespace

std::shared_ptr<World> World::make(Clock& clock, WorldSpec spec) {
  std::shared_ptr<World> world(new World(clock, {}));
  world->spec_.link = spec.link;
  world->spec_.seed = spec.seed;
  for (HostSpec& host : spec.hosts) world->add_host(std::move(host));
  return world;
}

std::shared_ptr<Guest> HostState::named(const std::string& name) const {
  const auto [first, last] = names.equal_range(name);
  for (auto at = first; at != last; ++at) {
    const auto found = guests.find(at->second);
    if (found != guests.end() && found->second->name == name) return found->second;
  }
  return nullptr;
}

void HostState::take(const std::shared_ptr<Guest>& guest, std::string name) {
  const auto [first, last] = names.equal_range(name);
  const bool known =
      std::any_of(first, last, [&](const auto& entry) { return entry.second == guest->spec.uuid; });
  if (!known) names.emplace(name, guest->spec.uuid);
  guest->name = std::move(name);
  guests.insert_or_assign(guest->spec.uuid, guest);
}

HostState* World::host(const std::string& name) {
  const auto at = hosts_.find(name);
  return at == hosts_.end() ? nullptr : at->second.get();
}

HostState& World::add_host(HostSpec spec) {
  auto state = std::make_unique<HostState>();
  state->rules = find_rules(spec.driver);
  if (!state->rules) throw Error(ErrorId::xml, "there are no rules for the driver " + spec.driver);
  for (std::size_t i = 0; i < spec.guests.size(); ++i) {
    auto guest = std::make_shared<Guest>();
    guest->spec = value_or_throw(parse_guest(spec.guests[i], spec_.seed));
    guest->persistent = true;
    if (i < spec.started.size() && spec.started[i]) boot(*state, *guest, false);
    state->take(guest, guest->spec.name);
  }
  state->spec = std::move(spec);
  HostState& made = *state;
  hosts_.insert_or_assign(made.spec.name, std::move(state));
  return made;
}

// Between processes an id must be one of its kind, whatever the seed.
MigrationId World::new_id() {
  MigrationId id;
  if (network) {
    std::random_device random_bytes;
    for (std::byte& b : id) b = static_cast<std::byte>(random_bytes());
    return id;
  }
  for (std::size_t half = 0; half < 2; ++half) {
    const std::uint64_t bits = random();
    for (std::size_t i = 0; i < 8; ++i) id[half * 8 + i] = static_cast<std::byte>(bits >> i * 8);
  }
  return id;
}

std::unique_ptr<Host> World::connect(const std::string& name, std::string uri) {
  if (!host(name))
    throw Error(ErrorId::connect_failed, fmt::format("there is no simulated host '{}'", name));
  return std::make_unique<TestHost>(shared_from_this(), *host(name), std::move(uri));
}

void World::advance(Guest& guest) {
  const Micros passed = std::min(now() - guest.ran_until, kMostAtOnce);
  guest.ran_until = now();
  if (!guest.status.runs() || passed <= Micros::zero()) return;
  const double share = (100.0 - guest.throttle) / 100.0;
  guest.cpu_time += std::chrono::duration_cast<Micros>(passed * share);
  guest.writes_due += static_cast<double>(passed.count()) / 1e6 * speed * share *
                      static_cast<double>(guest.spec.dirty_rate);
  std::uint64_t& executed = executed_[guest.spec.uuid];
  if (guest.memory.writes() < executed && guest.writes_due >= 1) stale_execution = true;
  while (guest.writes_due >= 1) {
    if (guest.memory.missing(guest.memory.next_page())) {  // post-copy: the CPUs wait for the page
      if (guest.in) guest.in->wants.push_back(guest.memory.next_page());
      guest.writes_due = 0.999;
      break;
    }
    guest.memory.write();
    guest.writes_due -= 1;
  }
  executed = std::max(executed, guest.memory.writes());
}

void World::emit(HostState& host, const DomainEvent& event) {
  const auto subscribers = host.subscribers;
  std::erase_if(host.subscribers, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : subscribers) {
    const auto subscriber = weak.lock();
    if (subscriber && *subscriber->connected &&
        (subscriber->any || subscriber->uuid == event.domain.uuid))
      subscriber->on(event);
  }
}

void World::emit_lifecycle(HostState& host, const Guest& guest, std::int32_t event,
                           std::int32_t detail) {
  DomainEvent told;
  told.domain = guest.ref();
  told.event = event;
  told.detail = detail;
  emit(host, told);
}

void World::run(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail) {
  advance(guest);
  guest.status = {DomainState::running, reason};
  // A copy that is older than what the guest has executed elsewhere is one too many.
  if (guest.memory.writes() < executed_[guest.spec.uuid]) stale_execution = true;
  emit_lifecycle(host, guest, kEventResumed, detail);
}

void World::pause(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail) {
  advance(guest);
  guest.status = {DomainState::paused, reason};
  emit_lifecycle(host, guest, kEventSuspended, detail);
}

void World::stop(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail) {
  advance(guest);
  if (guest.in) {
    guest.in->gone = true;
    if (guest.in->reception) guest.in->reception->close();
    unlisten(guest.in->uri);
    unlisten(guest.in->disks_uri);
    guest.in.reset();
  }
  if (guest.out && guest.out->broken.empty()) guest.out->broken = "the guest's process ended";
  guest.out.reset();
  guest.status = {DomainState::shutoff, reason};
  guest.id = -1;
  guest.throttle = 0;
  guest.memory = {};
  emit_lifecycle(host, guest, kEventStopped, detail);
  forget(host, guest);
}

void World::forget(HostState& host, Guest& guest) {
  if (!guest.active() && !guest.persistent) {
    const Uuid uuid = guest.spec.uuid;  // the guest may go with its entry
    const auto [first, last] = host.names.equal_range(guest.name);
    for (auto at = first; at != last;) at = at->second == uuid ? host.names.erase(at) : ++at;
    host.guests.erase(uuid);
  }
}

void World::end_incoming(HostState& host, const std::shared_ptr<Guest>& guest) {
  const auto in = guest->in;
  if (in) in->gone = true;
  if (in && in->before) {
    guest->spec = *in->before;
    host.take(guest, guest->spec.name);
  }
  if (guest->active()) {
    stop(host, *guest, kShutoffFailed, kStoppedFailed);
  } else {
    if (in) unlisten(in->uri);
    guest->in.reset();
    forget(host, *guest);
  }
}

void World::boot(HostState& host, Guest& guest, bool paused) {
  guest.id = host.next_id++;
  guest.memory = Memory::fresh(guest.spec.shape);
  guest.writes_due = 0;
  guest.ran_until = now();
  executed_[guest.spec.uuid] = 0;  // from its disks: a new life
  guest.status = paused ? DomainStatus{DomainState::paused, kPausedUser}
                        : DomainStatus{DomainState::running, 1};
  emit_lifecycle(host, guest, kEventStarted, 0);
}

std::string World::listen(HostState& host, const std::shared_ptr<Guest>& guest, std::string scheme,
                          std::string address, std::uint16_t port) {
  const auto name = [&](std::uint16_t p) { return fmt::format("{}://{}:{}", scheme, address, p); };
  if (port == 0) {
    while (listeners_.contains(name(host.next_port))) ++host.next_port;
    port = host.next_port++;
    if (host.next_port > 49215) host.next_port = 49152;
  }
  const std::string uri = name(port);
  if (listeners_.contains(uri))
    throw Error(ErrorId::remote, fmt::format("cannot listen on {}: address already in use", uri));
  listeners_[uri] = {&host, guest};
  return uri;
}

void World::listen_at(HostState& host, const std::shared_ptr<Guest>& guest,
                      const std::string& uri) {
  listeners_[uri] = {&host, guest};
}

bool World::leaves(const MigrationId& id) const {
  return std::ranges::any_of(hosts_, [&](const auto& host) {
    return std::ranges::any_of(host.second->guests, [&](const auto& guest) {
      return guest.second->out && guest.second->out->id == id;
    });
  });
}

std::pair<HostState*, std::shared_ptr<Guest>> World::listener(const std::string& uri) {
  const auto at = listeners_.find(uri);
  if (at == listeners_.end()) return {};
  return {at->second.first, at->second.second.lock()};
}

bool World::listens_for_nobody() const {
  return std::ranges::any_of(listeners_, [](const auto& entry) {
    const auto guest = entry.second.second.lock();
    return !guest || !guest->in;
  });
}

// Post-copy may end well by itself, or be taken up again.
void World::drop_job(Guest& guest) {
  const auto job = std::exchange(guest.out, nullptr);
  guest.throttle = 0;
  const bool switched =
      guest.status.state == DomainState::paused && guest.status.reason == kPausedPostcopy;
  if (job->postcopy && switched) guest.status.reason = kPausedPostcopyFailed;
}

void World::connection_closed(HostState& host, std::uint64_t connection) {
  const auto guests = host.guests;
  for (const auto& [uuid, guest] : guests) {
    const bool incoming = guest->in && guest->in->owner == connection;
    if (incoming && !guest->in->postcopy) end_incoming(host, guest);
    // libvirt forgets the job, and leaves a guest that perform has stopped as it is: nobody here
    // knows whether the destination runs it.
    const bool outgoing = guest->out && guest->out->owner == connection;
    if (outgoing && guest->out->phase != JobPhase::performing) drop_job(*guest);
  }
}

void World::crash_daemon(const std::string& name) {
  HostState& host = *hosts_.at(name);
  ++host.incarnation;  // every connection is lost
  host.subscribers.clear();
  const auto guests = host.guests;
  for (const auto& [uuid, guest] : guests) {
    guest->completed.reset();
    if (guest->in && !guest->in->postcopy) {
      end_incoming(host, guest);
      continue;
    }
    if (!guest->out) continue;
    const auto job = guest->out;
    drop_job(*guest);
    if (job->phase != JobPhase::performing || job->postcopy) continue;
    job->broken = "the daemon was restarted";
    guest->throttle = 0;
    if (guest->status.paused_by_migration() && job->was_running)
      run(host, *guest, kRunningMigrationCanceled, kResumedMigrated);
  }
}

void World::kill_guest(const std::string& name, const Uuid& uuid) {
  HostState& host = *hosts_.at(name);
  const auto at = host.guests.find(uuid);
  if (at == host.guests.end() || !at->second->active()) return;
  const auto guest = at->second;
  stop(host, *guest, 3, 2);  // shutoff (crashed), stopped (crashed)
}

int World::executing(const Uuid& uuid) const {
  int count = 0;
  for (const auto& [name, host] : hosts_) {
    const auto at = host->guests.find(uuid);
    if (at != host->guests.end() && at->second->status.runs()) ++count;
  }
  return count;
}

std::uint64_t World::executed(const Uuid& uuid) const {
  const auto at = executed_.find(uuid);
  return at == executed_.end() ? 0 : at->second;
}

bool World::memory_exact(const std::string& name, const Uuid& uuid) {
  const auto at = hosts_.at(name)->guests.find(uuid);
  if (at == hosts_.at(name)->guests.end() || !at->second->active()) return false;
  Guest& guest = *at->second;
  advance(guest);
  if (guest.memory.missing_pages() > 0 || guest.memory.writes() < executed(uuid)) return false;
  Memory truth = Memory::fresh(guest.spec.shape);
  truth.write_until(guest.memory.writes());
  return truth.same_content(guest.memory);
}

}  // namespace vmferry::sim
