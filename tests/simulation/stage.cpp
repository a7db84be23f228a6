#include "tests/simulation/stage.hpp"

#include <fmt/format.h>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>

#include "tests/simulation/wire.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;

constexpr const char* kGuest =
    "<domain type='test'><name>vm</name><uuid>5a1b2c3d-0000-4000-8000-000000000001</uuid>"
    "<memory unit='MiB'>8</memory><vcpu>1</vcpu><metadata>"
    "<sim:guest xmlns:sim='urn:vmferry:sim' pages='32' page-size='64' hot='16' dirty-rate='{}' "
    "disk-size='1048576' seed='77'/></metadata>"
    "<devices><disk type='file' device='disk'><driver name='qemu' cache='none'/>"
    "<source file='/shared/vm'/><target dev='vda'/></disk></devices></domain>";

WorldSpec world_for(const Scenario& scenario) {
  WorldSpec spec;
  spec.seed = scenario.seed;
  spec.link.bytes_per_s = spec.link.stream_bytes_per_s = 8 << 20;
  const int hosts = scenario.way->rival ? 3 : 2;
  for (int i = 0; i < hosts; ++i) {
    HostSpec host;
    host.name = std::string(1, static_cast<char>('a' + i));
    host.record = scenario.record;
    spec.hosts.push_back(std::move(host));
  }
  spec.hosts.front().guests = {fmt::format(kGuest, scenario.way->dirty_rate)};
  spec.hosts.front().started = {scenario.way->started};
  return spec;
}

}  // namespace

Stage::Stage(const Scenario& scenario)
    : scenario_(scenario),
      way_(*scenario.way),
      world_(World::make(clock_, world_for(scenario))),
      vm_(world_->host("a")->guests.begin()->second->ref()),
      network_(clock_, io_.get_executor(), world_, vm_.uuid),
      stop_(io_.get_executor()),
      observer_(network_),
      bytes_(std::make_shared<std::uint64_t[]>(2)) {
  network_.faults = scenario.faults;
  network_.verbose = scenario.verbose;
  network_.jitter = scenario.jitter;
  network_.wrong = scenario.wrong;
  network_.may_be_lost = way_.protocol < Protocol::v3;
  network_.on_cancel = [this] { stop_.request("Ctrl-C"); };
  network_.on_kill_client = [this] {
    killed_ = true;
    if (kill_) kill_->emit(asio::cancellation_type::terminal);
  };
  world_->work = 1ms;
  world_->peer_opener = [this](std::string, std::string uri) {
    return network_.open({"*"}, uri.substr(uri.rfind('/') + 1));
  };
  if (way_.paused) {
    Guest& guest = *world_->host("a")->guests.begin()->second;
    world_->pause(*world_->host("a"), guest, kPausedUser, 0);
  }
}

Plan Stage::plan() const {
  Plan plan;
  plan.domain = vm_;
  plan.kind = way_.kind;
  plan.protocol = way_.protocol;
  plan.flags = way_.flags;
  plan.source_uri = "test:///a";
  plan.destination_uri = "test:///b";
  plan.params.set("destination_name", vm_.name);
  plan.active = way_.started;
  plan.change_protection = way_.protocol >= Protocol::v3;
  plan.timeout = way_.timeout;
  plan.postcopy_after_precopy = way_.postcopy_at_once;
  return plan;
}

Endpoint Stage::endpoint(Side side, const char* host) {
  const Party client = network_.client();
  Net* const network = &network_;
  const std::string uri = std::string("test:///") + host;
  if (way_.wire) {
    const std::size_t which = side == Side::source ? 0 : 1;
    WireCut cut{bytes_, which, UINT64_MAX};
    const auto& wanted = scenario_.byte_cut;
    if (wanted && wanted->destination == (which == 1)) cut.at = wanted->byte;
    return {side, uri, nullptr, [network, client, host = std::string(host), cut] {
              return open_wire(*network, client, host, cut);
            }};
  }
  return {side, uri, network_.connect(client, host),
          [network, client, host = std::string(host)] { return network->open(client, host); }};
}

// Runs the client's side to its end, or to its death: then nothing.
std::optional<Report> Stage::drive(Task<Report> task) {
  asio::cancellation_signal kill;
  kill_ = &kill;
  bool done = false;
  killed_ = false;
  std::exception_ptr failure;
  std::optional<Report> report;
  asio::co_spawn(
      io_, std::move(task),
      asio::bind_cancellation_slot(kill.slot(), [&](const std::exception_ptr& e, Report r) {
        done = true;
        failure = e;
        if (!e) report = std::move(r);
      }));
  const Micros limit = clock_.now() + 2h;
  clock_.settle();
  while (!done) {
    if (!clock_.jump() || clock_.now() > limit) {
      network_.violation("the client waits for ever");
      break;
    }
    clock_.settle();
  }
  kill_ = nullptr;
  if (killed_) return std::nullopt;
  if (failure) network_.violation("the engine threw");
  return report;
}

static Task<Report> opened_first(Engine engine, Plan plan, Endpoint& source, Endpoint& destination,
                                 bool& begun) {
  for (Endpoint* const end : {&source, &destination}) {
    if (end->host) continue;
    Task<std::unique_ptr<Host>> opening = end->reopen();
    auto opened = co_await vmferry::settle(std::move(opening));
    if (opened) end->host = *std::move(opened);
    if (end->host) continue;
    Report report;  // as the survey has it: nothing was changed
    report.error = opened.error();
    co_return report;
  }
  begun = true;
  Report report = co_await migrate(engine, std::move(plan), source, destination);
  co_return report;
}

std::optional<Report> Stage::migrate_once(Plan plan, const char* to, Stop& stop) {
  Endpoint source = endpoint(Side::source, "a");
  Endpoint destination = endpoint(Side::destination, to);
  plan.destination_uri = destination.uri;
  Engine engine{clock_, stop, observer_, {}};
  engine.options.witness = way_.witness;
  engine.options.resume_on_lost_finish_for_tests = scenario_.wrong == Wrong::as_virsh;
  return drive(opened_first(engine, std::move(plan), source, destination, begun_));
}

// Another client on another machine, which wants the guest elsewhere.
void Stage::run_rival() {
  struct Rival {
    Endpoint source, destination;
    Stop stop;
    bool done = false;
  };
  auto rival = std::make_shared<Rival>(Rival{{}, {}, Stop(io_.get_executor())});
  const Party other{"rival", 0};
  rival->source = {Side::source, "test:///a", network_.connect(other, "a"),
                   [this, other] { return network_.open(other, "a"); }};
  rival->destination = {Side::destination, "test:///c", network_.connect(other, "c"),
                        [this, other] { return network_.open(other, "c"); }};
  Plan wanted = plan();
  wanted.destination_uri = "test:///c";
  const auto moving = [](Net& network, std::shared_ptr<Rival> me, Plan to, Observer& observer,
                         Micros when, bool& unsure) -> Task<> {
    co_await network.clock().sleep(when);
    const Engine engine{network.clock(), me->stop, observer, {}};
    const Report report = co_await migrate(engine, std::move(to), me->source, me->destination);
    unsure = report.exit() == Exit::unknown;
    network.say(fmt::format("     RIVAL: exit {} {}", static_cast<int>(report.exit()),
                            report.error ? report.error->message : ""));
    me->source.host.reset();
    me->destination.host.reset();
  };
  const Micros when(static_cast<std::int64_t>(mix(scenario_.seed * 31) % 1500000));
  network_.spawn(moving(network_, rival, std::move(wanted), observer_, when, rival_unsure_));
}

void Stage::settle() {
  clock_.settle();
  const Micros limit = clock_.now() + 1h;
  while (network_.running() > 0 && clock_.now() < limit && clock_.jump()) clock_.settle();
  if (network_.running() > 0) network_.violation("work is left on a host");
  clock_.pass(10ms);
  network_.look();
}

// One who can see both hosts does what the remedy of an undecided migration says.
void Stage::mend() {
  const auto operate = [](World& world, const char* host, DomainRef vm, bool end) -> Task<> {
    const std::unique_ptr<Host> at = world.connect(host);
    if (end)
      co_await at->destroy(vm, 0);
    else
      co_await at->resume(vm);
  };
  if (way_.paused || !way_.started || network_.hypervisor_killed()) return;
  if (runs("b") && active("a"))
    network_.spawn(operate(*world_, "a", vm_, true));
  else if (!runs("b") && !runs("c") && active("a") && !runs("a"))
    network_.spawn(operate(*world_, "a", vm_, false));
  settle();
}

// Whatever went wrong, nothing of it may be in the way of the next attempt.
void Stage::once_again() {
  if (way_.rival || network_.hypervisor_killed() || here("b")) return;
  if (network_.may_be_lost && !active("a")) return;
  Plan again = plan();
  again.timeout = std::nullopt;
  if (half_way("a")) again.flags.add(Flag::postcopy_resume);
  Stop calm(io_.get_executor());
  const std::optional<Report> report = migrate_once(std::move(again), "b", calm);
  settle();
  if (!report) return;
  network_.say(fmt::format("     ONCE AGAIN: exit {} {}", static_cast<int>(report->exit()),
                           report->error ? report->error->message : ""));
  if (report->exit() != Exit::done || !here("b"))
    network_.violation("all is well again, and the guest cannot be moved: " +
                       (report->error ? report->error->message : "it is not there"));
  judge_leftovers();
}

// What a client says that is wrong in one of the known ways.
void Stage::misreport(Report& report) const {
  const auto say = [&](Whereabouts where, std::optional<Error> error) {
    report.where = where;
    report.error = std::move(error);
  };
  switch (scenario_.wrong) {
    case Wrong::says_done:
      return say(Whereabouts::destination, std::nullopt);
    case Wrong::says_at_home:
      report.source.seen = Sighting::Seen::running;
      return say(Whereabouts::source, Error(ErrorId::migrate_failed, "it failed"));
    case Wrong::says_lost:
      return say(Whereabouts::lost, Error(ErrorId::guest_lost, "it died"));
    case Wrong::says_unlooked:
      report.source.seen = Sighting::Seen::unreachable;
      return say(Whereabouts::source, Error(ErrorId::migrate_failed, "it failed"));
    default:
      return;
  }
}

Outcome Stage::play() {
  if (way_.rival) run_rival();
  Outcome out;
  std::optional<Report> report = migrate_once(plan(), "b", stop_);
  if (report) misreport(*report);
  out.client_killed = killed_;
  out.steps = network_.steps();
  settle();
  if (report) {
    judge_verdict(*report);
    out.exit = report->exit();
    out.where = report->where;
    if (report->error) out.told = report->error->message;
  }
  network_.heal();
  judge_world(report);
  if (network_.violations().empty() && !scenario_.faults.empty()) {
    if (!half_way("a")) mend();
    once_again();
  }
  out.bytes[0] = bytes_[0];
  out.bytes[1] = bytes_[1];
  out.violations = network_.violations();
  out.log = network_.log;
  return out;
}

}  // namespace vmferry::sim
