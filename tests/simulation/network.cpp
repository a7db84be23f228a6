#include "tests/simulation/network.hpp"

#include <fmt/format.h>

#include <asio/co_spawn.hpp>

#include "tests/simulation/connection.hpp"

namespace vmferry::sim {

using namespace std::chrono_literals;

std::string_view name(FaultKind kind) {
  static constexpr std::string_view names[] = {"cut-source",
                                               "cut-destination",
                                               "cut-peer",
                                               "crash-source",
                                               "crash-destination",
                                               "stop-source",
                                               "stop-destination",
                                               "kill-source",
                                               "kill-destination",
                                               "cut-data",
                                               "split",
                                               "slow-source",
                                               "slow-destination",
                                               "full-destination",
                                               "cancel",
                                               "kill-client"};
  return names[std::to_underlying(kind)];
}

std::string_view name(Wrong wrong) {
  static constexpr std::string_view names[kWrongs] = {
      "none",       "as-virsh",  "unnoticed",    "half-made", "open-port",
      "bad-memory", "says-done", "says-at-home", "says-lost", "says-unlooked"};
  return names[std::to_underlying(wrong)];
}

void Net::violation(std::string what) { violations_.push_back(std::move(what)); }

void Net::say(std::string text) {
  if (verbose) log.push_back(std::move(text));
}

std::shared_ptr<Guest> Net::guest(const std::string& host) const {
  HostState* const state = world_->host(host);
  if (!state) return nullptr;
  const auto at = state->guests.find(uuid_);
  return at == state->guests.end() ? nullptr : at->second;
}

void Net::look() {
  if (!violations_.empty()) return;
  int executing = 0;
  int intact = 0;
  for (const auto& [name, host] : world_->hosts()) {
    const auto at = host->guests.find(uuid_);
    if (at == host->guests.end()) continue;
    const Guest& guest = *at->second;
    if (guest.status.runs()) ++executing;
    const bool whole = !guest.in || guest.in->loaded || guest.in->postcopy || guest.in->offline;
    if (whole) ++intact;
  }
  if (executing > 1) violation("two copies execute");
  if (world_->stale_execution) violation("an old copy executes");
  if (intact == 0 && !hypervisor_killed_ && !may_be_lost) violation("no copy is left");
}

void Net::step(std::string_view what, std::string_view way, const Connection& link) {
  if (verbose) {
    const std::string who = link.owner.host.empty() ? "" : fmt::format(" ({})", link.owner.host);
    log.push_back(fmt::format("{:>4} {:>9} us  {}{}{}{}", steps_ + 1, clock_.now().count(), what,
                              way, link.host, who));
  }
  next_step();
}

void Net::step(std::string_view what) {
  if (verbose)
    log.push_back(fmt::format("{:>4} {:>9} us  {}", steps_ + 1, clock_.now().count(), what));
  next_step();
}

void Net::next_step() {
  ++steps_;
  for (const Fault& fault : faults)
    if (fault.step == steps_) strike(fault);
  look();
}

void Net::crash(const std::string& host, Micros away) {
  world_->crash_daemon(host);
  ++lives_[host];
  if (away > 0us) away_until_[host] = clock_.now() + away;
  cut([&](const Connection& link) { return link.host == host || link.owner.host == host; }, false);
}

void Net::strike(const Fault& fault) {
  say(fmt::format("     FAULT {}{}", name(fault.kind), fault.late ? "+late" : ""));
  const Micros long_time = fault.late ? 120s : 10s;
  switch (fault.kind) {
    case FaultKind::cut_source:
      return cut_client("a", fault.late);
    case FaultKind::cut_destination:
      return cut_client("b", fault.late);
    case FaultKind::cut_peer:
      return cut_peers(fault.late);
    case FaultKind::crash_source:
    case FaultKind::crash_destination:
      return crash(fault.kind == FaultKind::crash_source ? "a" : "b", {});
    case FaultKind::stop_source:
    case FaultKind::stop_destination:
      return crash(fault.kind == FaultKind::stop_source ? "a" : "b", long_time);
    case FaultKind::kill_source:
    case FaultKind::kill_destination: {
      const std::string host = fault.kind == FaultKind::kill_source ? "a" : "b";
      hypervisor_killed_ = true;
      killed_at_[host] = clock_.now();
      return world_->kill_guest(host, uuid_);
    }
    case FaultKind::cut_data:
      data_lost_ = true;
      world_->link().up = false;
      return;
    case FaultKind::split:
      data_lost_ = true;
      world_->link().up = false;
      split_until_ = clock_.now() + (fault.late ? 120s : 5s);
      spawn(rejoin(split_until_));
      return cut_peers(false);
    case FaultKind::slow_source:
      slowness_["a"] = fault.late ? 25s : 2s;
      return;
    case FaultKind::slow_destination:
      slowness_["b"] = fault.late ? 25s : 2s;
      return;
    case FaultKind::full_destination: {
      HostState& b = *world_->host("b");
      b.spec.memory_kib = 0;
      const auto at = b.guests.find(uuid_);
      if (!fault.late || at == b.guests.end() || !at->second->active()) return;
      hypervisor_killed_ = true;
      killed_at_["b"] = clock_.now();
      return world_->kill_guest("b", uuid_);
    }
    case FaultKind::cancel:
      return on_cancel();
    case FaultKind::kill_client:
      bury_client(fault.late);
      return on_kill_client();
  }
}

Task<> Net::rejoin(Micros at) {
  co_await clock_.sleep(at - clock_.now());
  if (at >= split_until_) world_->link().up = true;
}

template <class Match>
void Net::cut(Match match, bool late) {
  for (const auto& weak : connections_) {
    const auto link = weak.lock();
    if (!link || link->lost || !match(*link)) continue;
    link->lost = true;
    link->late = late;
    link->changed.notify();
    // A late request is carried out before the daemon notices.
    spawn(notice_later(*this, link, late ? 2s : latency / 2));
  }
}

void Net::cut_client(const std::string& host, bool late) {
  cut([&](const Connection& link) { return link.owner.host.empty() && link.host == host; }, late);
}
void Net::cut_peers(bool late) {
  cut([](const Connection& link) { return !link.owner.host.empty(); }, late);
}

void Net::bury_client(bool late) {
  ++client_life_;
  cut([](const Connection& link) { return link.owner.host.empty(); }, late);
}

void Net::heal() {
  faults.clear();
  away_until_.clear();
  slowness_.clear();
  split_until_ = {};
  world_->link().up = true;
  world_->host("b")->spec.memory_kib = HostSpec{}.memory_kib;
}

bool Net::lives(const Party& party) const {
  if (party.host.empty()) return party.life == client_life_;
  const auto at = lives_.find(party.host);
  return party.life == (at == lives_.end() ? 0 : at->second);
}

static bool before(const std::map<std::string, Micros>& seen,
                   const std::map<std::string, Micros>& killed, const std::string& host) {
  const auto end = killed.find(host);
  const auto last = seen.find(host);
  return end != killed.end() && (last == seen.end() || end->second >= last->second);
}
bool Net::killed_unseen(const std::string& host) const { return before(served_, killed_at_, host); }
bool Net::killed_after_look(const std::string& host) const {
  return before(looked_, killed_at_, host);
}

Micros Net::slowness(const std::string& host) const {
  const auto at = slowness_.find(host);
  return at == slowness_.end() ? 0us : at->second;
}

Micros Net::delay() {
  if (!jitter) return latency;
  const std::uint64_t drawn = mix(world_->seed() * 977 + ++messages_);
  return latency / 2 + Micros(static_cast<std::int64_t>(drawn % (drawn % 8 == 0 ? 40000 : 1000)));
}

Task<std::unique_ptr<Host>> Net::open(Party party, std::string host) {
  if (party.host == "*") {  // the daemon that asks does not know which life it lives
    party.host = "a";
    const auto at = lives_.find("a");
    party.life = at == lives_.end() ? 0 : at->second;
  }
  if (!lives(party)) throw Error(ErrorId::connect_failed, "whoever connects is dead");
  step(party.host.empty() ? "connect" : "connect a peer");
  co_await clock_.sleep(2 * delay());
  const auto away = away_until_.find(host);
  const bool refused = away != away_until_.end() && clock_.now() < away->second;
  const bool split = !party.host.empty() && clock_.now() < split_until_;
  if (!lives(party) || refused || split)
    throw Error(ErrorId::connect_failed, "nobody answers there");
  co_return connect(std::move(party), host);
}

std::unique_ptr<Host> Net::connect(Party party, const std::string& host) {
  auto link = std::make_shared<Connection>(ex_, host, std::move(party));
  link->daemon = std::make_shared<TestHost>(world_, *world_->host(host), "test:///" + host);
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
  connections_.push_back(link);
  return std::make_unique<ClientHost>(*this, link);
}

void Net::spawn(Task<> task) {
  ++running_;
  asio::co_spawn(ex_, std::move(task), [this](std::exception_ptr) { --running_; });
}

}  // namespace vmferry::sim
