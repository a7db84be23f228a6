#include "tests/simulation/scenario.hpp"

#include <fmt/format.h>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view kGuest =
    "<domain type='test'><name>vm</name><memory unit='MiB'>8</memory><vcpu>1</vcpu><metadata>"
    "<sim:guest xmlns:sim='urn:vmferry:sim' pages='32' page-size='64' hot='16' dirty-rate='20'/>"
    "</metadata></domain>";

class Silent final : public Observer {
 public:
  void phase(Phase) override {}
  void progress(const JobStats&) override {}
  void event(Side, const DomainEvent&) override {}
  void notice(const std::string&) override {}
};

WorldSpec two_hosts(const Scenario& scenario) {
  WorldSpec spec;
  spec.seed = scenario.seed;
  spec.link.bytes_per_s = spec.link.stream_bytes_per_s = 8 << 20;
  for (const char* name : {"a", "b"}) {
    HostSpec host;
    host.name = name;
    host.record = scenario.record;
    spec.hosts.push_back(std::move(host));
  }
  spec.hosts.front().guests = {std::string(kGuest)};
  spec.hosts.front().started = {true};
  return spec;
}

class Stage {
 public:
  explicit Stage(const Scenario& scenario)
      : scenario_(scenario),
        world_(World::make(clock_, two_hosts(scenario))),
        vm_(world_->host("a")->guests.begin()->second->ref()),
        network_(clock_, io_.get_executor(), world_, vm_.uuid),
        stop_(io_.get_executor()) {
    network_.faults = scenario.faults;
    network_.verbose = scenario.verbose;
    network_.on_cancel = [this] { stop_.request("Ctrl-C"); };
    network_.on_kill_client = [this] { kill_.emit(asio::cancellation_type::terminal); };
  }

  Outcome play() {
    run_client();
    if (network_.client_dead()) report_.reset();
    settle();
    judge();
    Outcome out;
    out.steps = network_.steps();
    out.client_killed = network_.client_dead();
    if (report_) {
      out.exit = report_->exit();
      out.where = report_->where;
      if (report_->error) out.told = report_->error->message;
    }
    out.violations = network_.violations();
    out.log = network_.log;
    return out;
  }

 private:
  static Task<std::unique_ptr<Host>> open(Net* network, std::string host) {
    network->step("open " + host);
    co_await network->clock().sleep(2 * network->latency);
    if (network->client_dead()) throw Error(ErrorId::connect_failed, "the client is dead");
    co_return network->connect(host);
  }

  Endpoint endpoint(Side side, const char* host) {
    Net* const network = &network_;
    return {side, std::string("test:///") + host, network_.connect(host),
            [network, host] { return open(network, host); }};
  }

  void run_client() {
    Plan plan;
    plan.domain = vm_;
    plan.flags = scenario_.flags;
    plan.source_uri = "test:///a";
    plan.destination_uri = "test:///b";
    plan.params.set("destination_name", vm_.name);
    plan.change_protection = true;
    source_ = endpoint(Side::source, "a");
    destination_ = endpoint(Side::destination, "b");
    Engine engine{clock_, stop_, observer_};
    engine.options.resume_on_lost_finish_for_tests = scenario_.as_virsh;
    bool done = false;
    std::exception_ptr failure;
    asio::co_spawn(
        io_, migrate(engine, plan, source_, destination_),
        asio::bind_cancellation_slot(kill_.slot(), [&](const std::exception_ptr& e, Report report) {
          done = true;
          failure = e;
          if (!e) report_ = std::move(report);
        }));
    const Micros limit = clock_.now() + 1h;
    clock_.settle();
    while (!done) {
      if (!clock_.jump() || clock_.now() > limit) {
        network_.violation("the client waits for ever");
        break;
      }
      clock_.settle();
    }
    if (failure && !network_.client_dead()) network_.violation("the engine threw");
    source_.host.reset();
    destination_.host.reset();
  }

  // Faults are over; whatever is still under way on the hosts ends.
  void settle() {
    network_.faults.clear();
    clock_.settle();
    const Micros limit = clock_.now() + 1h;
    while (network_.running() > 0 && clock_.now() < limit && clock_.jump()) clock_.settle();
    if (network_.running() > 0) network_.violation("work is left on a host");
    clock_.pass(1s);
    network_.look();
  }

  const Guest* guest(const char* host) {
    const auto& guests = world_->host(host)->guests;
    const auto at = guests.find(vm_.uuid);
    return at == guests.end() ? nullptr : at->second.get();
  }
  bool runs(const char* host) {
    const Guest* const g = guest(host);
    return g && g->status.runs();
  }
  bool active(const char* host) {
    const Guest* const g = guest(host);
    return g && g->active();
  }

  void judge() {
    for (const char* host : {"a", "b"}) {
      const Guest* const g = guest(host);
      if (g && g->out) network_.violation(fmt::format("a job is left on {}", host));
      if (g && g->in) network_.violation(fmt::format("an incoming guest is left on {}", host));
      if (runs(host) && !world_->memory_exact(host, vm_.uuid))
        network_.violation(fmt::format("the memory on {} is not the guest's", host));
    }
    if (world_->listening() > 0) network_.violation("a listener is left");
    const bool intact = active("a") || active("b");
    if (!intact && !network_.hypervisor_killed()) network_.violation("no copy is left");
    if (report_) judge_verdict(*report_);
  }

  void judge_verdict(const Report& report) {
    const bool killed = network_.hypervisor_killed();
    const Exit exit = report.exit();
    const bool none = !runs("a") && !runs("b");
    if (exit == Exit::done && !(runs("b") && !active("a")) && !killed)
      network_.violation("exit 0, but the guest does not run on the destination alone");
    if ((exit == Exit::failed || exit == Exit::cancelled) && !runs("a") && !killed)
      network_.violation("told that the guest is safe at the source, where it does not run");
    if (exit == Exit::internal) network_.violation("an internal error");
    if (report.where == Whereabouts::destination && !runs("b") && !killed)
      network_.violation("told that it is on the destination, where it does not run");
    if (report.where == Whereabouts::lost && !(none && killed))
      network_.violation("told that it is lost, which it is not");
    if (none && !killed && exit != Exit::unknown)
      network_.violation("nothing runs, and the user was not told");
  }

  const Scenario& scenario_;
  asio::io_context io_{1};
  SimClock clock_{io_};
  std::shared_ptr<World> world_;
  DomainRef vm_;
  Net network_;
  Stop stop_;
  Silent observer_;
  asio::cancellation_signal kill_;
  Endpoint source_, destination_;
  std::optional<Report> report_;
};

}  // namespace

Outcome play(const Scenario& scenario) {
  Stage stage(scenario);
  return stage.play();
}

std::string arguments(const Scenario& scenario) {
  std::string text = fmt::format("--seed {}", scenario.seed);
  if (!scenario.record) text += " --no-record";
  if (scenario.as_virsh) text += " --as-virsh";
  for (const Fault& fault : scenario.faults)
    text +=
        fmt::format(" --fault {}@{}{}", name(fault.kind), fault.step, fault.late ? "+late" : "");
  return text;
}

Scenario shrunk(Scenario scenario) {
  for (std::size_t i = 0; i < scenario.faults.size();) {
    Scenario less = scenario;
    less.faults.erase(less.faults.begin() + static_cast<std::ptrdiff_t>(i));
    if (play(less).violations.empty())
      ++i;
    else
      scenario = std::move(less);
  }
  return scenario;
}

}  // namespace vmferry::sim
