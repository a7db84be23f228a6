// What the rules allow must work, and what they refuse must be refused by the host itself: every
// driver, every flag, every state of the guest, over simulated hosts that follow the driver's
// rules.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/migrate/draft.hpp"
#include "core/migrate/survey.hpp"
#include "tests/core/drivers/test/world.hpp"

using namespace vmferry;

namespace {

struct Silent final : Observer {
  void phase(Phase) override {}
  void progress(const JobStats&) override {}
  void event(Side, const DomainEvent&) override {}
  void notice(const std::string&) override {}
};

struct OpenIn {
  sim::World* world;
  Task<std::unique_ptr<Host>> operator()(std::string uri) const {
    co_return world->connect(uri.substr(uri.rfind('/') + 1), uri);
  }
};

Request asked(Opt option) {
  Draft draft;
  draft.domain = "vm";
  draft.source = "test:///a";
  draft.destination = "test:///b";
  REQUIRE(draft.choose(option, Choice::yes).has_value());
  // Flags that cannot stand alone bring what they need.
  if (option == Opt::tunnelled) REQUIRE(draft.choose(Opt::peer2peer, Choice::yes).has_value());
  if (option == Opt::postcopy_resume) REQUIRE(draft.choose(Opt::postcopy, Choice::yes).has_value());
  if (option == Opt::zerocopy) REQUIRE(draft.choose(Opt::parallel, Choice::yes).has_value());
  if (option == Opt::non_shared_synchronous_writes)
    REQUIRE(draft.choose(Opt::non_shared_disk, Choice::yes).has_value());
  const Result<Request> request = draft.request();
  REQUIRE(request.has_value());
  return *request;
}

enum class State : std::uint8_t { running, paused, stopped };

struct Outcome {
  Resolution resolution;
  std::optional<Report> report;
};

Task<Outcome> go(sim::SmallWorld& w, Stop& stop, Request request) {
  Silent silent;
  const OpenIn open{w.world.get()};
  Survey survey = co_await vmferry::survey(open, std::move(request));
  Outcome out{survey.resolution, std::nullopt};
  if (!out.resolution.allowed()) co_return out;
  const Engine engine{w.clock, stop, silent};
  out.report = co_await migrate(engine, out.resolution.plan, survey.source, survey.destination);
  co_return out;
}

void into(sim::SmallWorld& w, State state) {
  if (state == State::paused) w.clock.run(w.a->suspend(w.vm));
  if (state == State::stopped) w.clock.run(w.a->destroy(w.vm, 0));
}

// The guest is where the plan said it would be, and in that state.
void check_arrival(sim::SmallWorld& w, const Outcome& out, State state) {
  const DriverRules& rules = *find_rules(out.resolution.rules);
  const FlagSet flags = out.resolution.plan.flags;
  const bool copied = flags.has(Flag::offline) && state != State::stopped;
  REQUIRE(w.has("b"));
  const sim::Guest& there = w.on("b");
  const bool kept = rules.habits.keeps_there || flags.has(Flag::persist_dest);
  CHECK(there.persistent == kept);
  CHECK(out.resolution.end_state.contains(kept ? ", defined on b" : ", not defined on b") ==
        !copied);
  const bool removed = rules.habits.removes_source || flags.has(Flag::undefine_source);
  if (copied) {
    CHECK_FALSE(there.active());
    CHECK(w.on("a").active());
    return;
  }
  CHECK(w.has("a") == !removed);
  const bool still = state == State::paused || flags.has(Flag::paused);
  CHECK(there.active() == (state != State::stopped));
  if (there.active()) CHECK(there.status.runs() == !still);
}

// A refusal that libvirt would utter too is uttered by the host, with the same code.
void check_refusal(sim::SmallWorld& w, const Outcome& out, Opt option, State state) {
  CHECK_FALSE(out.resolution.objections.front().reason.empty());
  const bool by_driver = std::ranges::any_of(out.resolution.objections, [&](const Objection& o) {
    return o.source == Source::driver && o.option == option && o.code != 0;
  });
  if (!by_driver) return;
  const DriverRules& rules = *find_rules(out.resolution.rules);
  const std::int32_t code = ruling(rules, option, state != State::stopped, 0).code;
  const PhaseCall call{Protocol::v3_params, w.vm, {}, FlagSet{*flag_of(option)}};
  const auto begun = w.clock.run(settle(w.a->begin(call)));
  REQUIRE_FALSE(begun.has_value());
  const auto all = check_literal(rules, call.flags, {}, state != State::stopped, 0);
  CHECK(std::ranges::any_of(all, [&](const Objection& o) { return o.code == code; }));
  CHECK(begun.error().wire.code == all.front().code);
}

}  // namespace

TEST_CASE("every driver, flag and state: the plan comes true, or the host refuses as predicted") {
  int moved = 0, refused = 0;
  for (const DriverRules* rules : all_rules())
    for (int bit = 0; bit < kFlagCount; ++bit)
      for (const State state : {State::running, State::paused, State::stopped}) {
        if (rules->name == "other") continue;  // no simulated host calls itself so
        const Opt option = opt(static_cast<Flag>(bit));
        if (option == Opt::rdma_pin_all) continue;  // needs an rdma: URI
        const int number = static_cast<int>(state);
        CAPTURE(rules->name);
        CAPTURE(row(option).option);
        CAPTURE(number);
        sim::SmallWorld w(sim::guest_xml("vm", 5), std::string(rules->name));
        Stop stop(w.io.get_executor());
        into(w, state);
        const Outcome out = w.clock.run(go(w, stop, asked(option)));
        if (!out.report) {
          ++refused;
          check_refusal(w, out, option, state);
          continue;
        }
        ++moved;
        const std::string trouble = out.report->error ? out.report->error->message : "";
        if (option == Opt::postcopy_resume && out.report->error) {  // nothing is broken here
          CHECK(trouble.contains("no post-copy migration"));
          CHECK(out.report->where == Whereabouts::source);
          continue;
        }
        CHECK(trouble == "");
        if (!out.report->error) check_arrival(w, out, state);
      }
  CHECK(moved > 100);
  CHECK(refused > 200);
}
