#include "tests/core/migrate/fake_host.hpp"

#include <fmt/format.h>
#include <asio/post.hpp>

namespace vmferry {

Task<> HastyClock::sleep(Micros duration) {
  const auto ex = co_await asio::this_coro::executor;
  // Others get their turn first, so that time does not pass while something can still happen.
  for (int i = 0; i < 50; ++i) co_await asio::post(ex, asio::use_awaitable);
  now_ += duration;
}

static const Cookie kCookie(8, std::byte{7});

FakeHost::~FakeHost() { FakeHost::lose(); }

void FakeHost::lose() {
  lost_ = true;
  auto& m = machine();
  const bool incoming = m.guest && m.guest->state == DomainState::paused &&
                        m.guest->reason == kPausedMigration && !m.executed;
  if (prepared_here_ && incoming && !world_.libxl) m.guest.reset();
  prepared_here_ = false;
}

Fault FakeHost::before(const char* what) {
  if (lost_) throw Error(ErrorId::connect_lost, "the connection is gone");
  const int n = world_.calls++;
  world_.log.push_back(fmt::format("{} {} {}", n, is_source_ ? "S" : "D", what));
  world_.on_call(n);
  const auto it = world_.faults.find(n);
  const Fault fault = it == world_.faults.end() ? Fault::none : it->second;
  if (fault == Fault::refuse) throw Error(ErrorId::remote, fmt::format("{} refused", what));
  if (fault == Fault::lose_request) after(Fault::lose_reply, what);
  return fault;
}

void FakeHost::demand_lock() {
  if (world_.libxl && machine().job)
    throw Error(ErrorId::remote, "cannot acquire state change lock");
}

Task<DomainInfo> FakeHost::info(const DomainRef&) {
  auto& m = machine();
  if (FakeWorld::runs(m)) m.cpu_time_ns += 1000;
  co_return DomainInfo{.cpu_time_ns = m.cpu_time_ns};
}

Task<JobStats> FakeHost::job_stats(const DomainRef&, bool, bool) {
  const bool held = (world_.libxl || world_.forgets) && machine().job;
  co_return JobStats{held ? JobType::unbounded : JobType::none, {}};
}

void FakeHost::after(Fault fault, const char* what) {
  if (world_.two_running()) world_.two_seen = true;
  if (fault != Fault::lose_reply) return;
  lose();
  Error error(ErrorId::connect_lost, fmt::format("connection lost in {}", what));
  error.reply_lost = true;
  throw error;
}

Task<HostFeatures> FakeHost::features() {
  HostFeatures f;
  f.v3 = f.v3_params = f.p2p = f.offline = f.change_protection = true;
  co_return f;
}

Task<DomainStatus> FakeHost::status(const DomainRef&) {
  const Fault fault = before("status");
  after(fault, "status");
  if (!machine().guest) throw Error(ErrorId::no_domain, "no domain");
  co_return *machine().guest;
}

Task<> FakeHost::undefine(const DomainRef&, std::uint32_t) {
  machine().persistent = false;
  if (machine().guest && !machine().guest->active()) machine().guest.reset();
  co_return;
}

Task<> FakeHost::suspend(const DomainRef&) {
  machine().guest = DomainStatus{DomainState::paused, kPausedUser};
  co_return;
}

Task<> FakeHost::resume(const DomainRef&) {
  const Fault fault = before("resume");
  demand_lock();
  machine().guest = DomainStatus{DomainState::running, 5};
  machine().executed = true;
  after(fault, "resume");
  co_return;
}

Task<> FakeHost::destroy(const DomainRef&, std::uint32_t) {
  const Fault fault = before("destroy");
  demand_lock();
  machine().guest.reset();
  after(fault, "destroy");
  co_return;
}

Task<std::unique_ptr<Subscription>> FakeHost::subscribe(const DomainRef&, OnEvent on) {
  if (!world_.forgets) throw Error(ErrorId::unsupported, "no events here");
  on_event_ = std::move(on);
  co_return nullptr;
}

Task<> FakeHost::forget_to_answer() {
  HastyClock turns;
  DomainEvent event;
  event.kind = DomainEvent::Kind::lifecycle;
  event.event = kEventSuspended;
  event.detail = kSuspendedMigrated;
  on_event_(event);
  co_await turns.sleep({});
  world_.destination.guest.reset();
  machine().job = true;
  event.event = kEventResumed;
  event.detail = 0;
  on_event_(event);
  for (;;) co_await turns.sleep({});
}

Task<Begun> FakeHost::begin(const PhaseCall&) {
  const Fault fault = before("begin");
  demand_lock();
  machine().job = true;
  machine().ran_at_begin = FakeWorld::runs(machine());
  after(fault, "begin");
  co_return Begun{kCookie, "<domain/>"};
}

Task<Prepared> FakeHost::prepare(const PhaseCall& call, const Cookie& cookie) {
  const Fault fault = before("prepare");
  if (world_.prepare_refusal) throw Error(*world_.prepare_refusal, "prepare refused");
  if (cookie.empty() && call.protocol >= Protocol::v3) throw Error(ErrorId::protocol, "no cookie");
  machine().guest = DomainStatus{DomainState::paused, kPausedMigration};
  if (call.flags.has(Flag::offline)) {  // as libvirt 9.0: neither active nor defined
    machine().guest = DomainStatus{DomainState::shutoff, 0};
    machine().persistent = false;
  }
  if (world_.libxl) machine().guest = DomainStatus{DomainState::shutoff, 0};
  machine().job = world_.libxl;
  prepared_here_ = true;
  after(fault, "prepare");
  co_return Prepared{kCookie, "tcp:there:49152"};
}

Task<Cookie> FakeHost::perform(const PhaseCall& call, const Cookie& cookie,
                               std::optional<std::string>) {
  const auto* uri = call.params.get<std::string>("migrate_uri");
  if (world_.libxl && uri != nullptr && *uri == "tcp://localhost:16509") {
    const Fault fault = before("perform-to-itself");
    machine().job = false;
    after(fault, "perform-to-itself");
    throw Error(ErrorId::remote, "Failed to send migration data to destination host");
  }
  if (world_.libxl && world_.faults.contains(world_.calls) &&
      world_.faults[world_.calls] == Fault::refuse)
    machine().job = false;
  if (world_.perform_refusal) throw Error(*world_.perform_refusal, "perform refused");
  const Fault fault = before("perform");
  if (world_.forgets) co_await forget_to_answer();
  if (cookie.empty() && call.protocol >= Protocol::v3 && !world_.by_source)
    throw Error(ErrorId::protocol, "no cookie");
  if (world_.by_source) {
    world_.source.guest.reset();
    world_.destination.guest = DomainStatus{DomainState::running, kRunningMigrated};
    after(fault, "perform");
    co_return kCookie;
  }
  if (!world_.destination.guest) throw Error(ErrorId::remote, "nobody listens");
  if (world_.libxl && world_.restarts) {
    machine().job = false;
    after(Fault::lose_reply, "perform");
  }
  if (world_.libxl) {
    machine().stands = true;
    world_.destination.guest = DomainStatus{DomainState::paused, kPausedUser};
    after(fault, "perform");
    co_return kCookie;
  }
  machine().guest = DomainStatus{DomainState::paused, kPausedMigration};
  while (world_.hangs && world_.destination.guest) {
    HastyClock turns;
    co_await turns.sleep({});
  }
  if (world_.hangs) {
    machine().guest = DomainStatus{DomainState::running, kRunningMigrationCanceled};
    throw Error(ErrorId::cancelled, "canceled by client");
  }
  if (world_.postcopy_breaks) {
    machine().guest = DomainStatus{DomainState::paused, kPausedPostcopy};
    world_.destination.guest = DomainStatus{DomainState::running, kRunningPostcopy};
    world_.destination.executed = true;
  }
  // Before v3 there is no Confirm: what was sent is no longer here.
  if (call.protocol < Protocol::v3) machine().guest.reset();
  after(fault, "perform");
  co_return kCookie;
}

Task<Finished> FakeHost::finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) {
  const Fault fault = before(verdict == Verdict::completed ? "finish" : "finish-cancelled");
  if (verdict == Verdict::cancelled) world_.cancelled_with = cookie;
  if (call.protocol < Protocol::v3 && cookie != kCookie)
    throw Error(ErrorId::protocol, "not the cookie of Prepare");
  auto& m = machine();
  m.job = false;
  if (verdict == Verdict::cancelled && call.protocol == Protocol::v1)
    throw Error(ErrorId::internal, "there is no such call");
  if (world_.postcopy_breaks) {
    world_.source.guest = DomainStatus{DomainState::paused, kPausedPostcopyFailed};
    m.guest = DomainStatus{DomainState::running, kRunningPostcopyFailed};
    throw Error(ErrorId::remote, "job 'migration in' failed in post-copy phase");
  }
  const bool offline = call.flags.has(Flag::offline);
  if (offline && verdict == Verdict::cancelled) {
    after(fault, "finish");
    throw Error(ErrorId::remote, "migration successfully aborted");
  }
  if (verdict == Verdict::cancelled || (!m.guest && !offline)) {
    m.guest.reset();
    after(fault, "finish");
    throw Error(ErrorId::remote, "migration successfully aborted");
  }
  const bool paused = call.flags.has(Flag::paused);
  m.guest = DomainStatus{DomainState::running, kRunningMigrated};
  if (paused) m.guest = DomainStatus{DomainState::paused, kPausedUser};
  if (offline) {
    m.guest = DomainStatus{DomainState::shutoff, 1};
    m.persistent = true;
  }
  if (world_.arrives_as) m.guest = world_.arrives_as;
  m.executed = !offline && !paused;
  after(fault, "finish");
  co_return Finished{call.domain, kCookie};
}

Task<> FakeHost::confirm(const PhaseCall& call, const Cookie&, Verdict verdict) {
  if (call.protocol < Protocol::v3) throw Error(ErrorId::internal, "there is no such call");
  const Fault fault = before(verdict == Verdict::completed ? "confirm" : "confirm-cancelled");
  auto& m = machine();
  m.job = false;
  if (verdict == Verdict::completed)
    m.guest.reset();
  else if (world_.libxl)
    m.stands = m.stands && !world_.confirm_wakes;
  else if (m.ran_at_begin && m.guest && m.guest->state == DomainState::paused &&
           !world_.postcopy_breaks)
    m.guest = DomainStatus{DomainState::running, kRunningMigrationCanceled};
  after(fault, "confirm");
  co_return;
}

Task<std::optional<bool>> FakeHost::ever_started(const DomainRef&, const Cookie&) {
  if (!world_.keeps_records) co_return std::nullopt;
  co_return machine().executed;
}

}  // namespace vmferry
