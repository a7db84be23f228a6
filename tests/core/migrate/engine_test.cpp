#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tests/core/migrate/fake_host.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;

namespace {

struct Quiet final : Observer {
  std::vector<Phase> phases;
  std::vector<std::string> notices;
  std::function<void(Phase)> on_phase = [](Phase) {};
  void phase(Phase p) override {
    phases.push_back(p);
    on_phase(p);
  }
  void progress(const JobStats&) override {}
  void event(Side, const DomainEvent&) override {}
  void notice(const std::string& text) override { notices.push_back(text); }
};

Task<std::unique_ptr<Host>> connect(FakeWorld& world, bool is_source) {
  if (!is_source && world.destination_unreachable_after_loss)
    throw Error(ErrorId::connect_failed, "no route to the destination");
  if (is_source && world.source_unreachable_after_loss)
    throw Error(ErrorId::connect_failed, "no route to the source");
  co_return std::make_unique<FakeHost>(world, is_source);
}

struct Trip {
  FakeWorld world;
  Quiet observer;
  Report report;
};

constexpr DomainStatus kRunning{DomainState::running, 1};

struct Way {
  FlagSet flags{Flag::live};
  DomainStatus initial = kRunning;
  Protocol protocol = Protocol::v3_params;
  Kind kind = Kind::managed;
  std::string source_uri = "xen+tcp://s/system";
  std::string stop = {};  ///< the user wants it stopped from the beginning of the copy
  int stop_before = -1;   ///< or before that call
  bool stopped = false;   ///< or before it begins
};

void travel(Trip& trip, const Way& way, EngineOptions options = {}) {
  asio::io_context io;
  HastyClock clock;
  Stop stop(io.get_executor());
  FakeWorld& world = trip.world;
  world.source.guest = way.initial;
  options.witness = false;
  Endpoint source{Side::source, way.source_uri, std::make_unique<FakeHost>(world, true),
                  [&world] { return connect(world, true); }};
  Endpoint destination{Side::destination, "fake:///d", std::make_unique<FakeHost>(world, false),
                       [&world] { return connect(world, false); }};
  Plan plan;
  plan.domain.name = "web1";
  plan.flags = way.flags;
  plan.protocol = way.protocol;
  plan.kind = way.kind;
  plan.change_protection = way.protocol >= Protocol::v3;
  plan.source_uri = source.uri;
  plan.destination_uri = destination.uri;
  if (world.libxl) {
    plan.departs = find_rules("xen")->departs;
    plan.change_protection = false;
  }
  Engine engine{clock, stop, trip.observer, options};
  if (!way.stop.empty())
    trip.observer.on_phase = [&stop, why = way.stop](Phase p) {
      if (p == Phase::perform) stop.request(why);
    };
  if (way.stop_before >= 0)
    world.on_call = [&stop, when = way.stop_before](int n) {
      if (n == when) stop.request("Ctrl-C");
    };
  if (way.stopped) stop.request("Ctrl-C");
  trip.report = run(io, migrate(engine, plan, source, destination));
  world.on_call = [](int) {};
}

void go(Trip& trip, EngineOptions options = {}, FlagSet flags = {Flag::live},
        DomainStatus initial = kRunning) {
  travel(trip, {.flags = flags, .initial = initial}, options);
}

// What must hold after every migration, whatever failed.
void check_world(const Trip& trip) {
  const FakeWorld& w = trip.world;
  INFO(fmt::format("{}", fmt::join(w.log, "; ")));
  CHECK_FALSE(w.two_running());
  const bool here = FakeWorld::runs(w.source);
  const bool there = FakeWorld::runs(w.destination);
  switch (trip.report.where) {
    case Whereabouts::source:
      CHECK(here);
      CHECK_FALSE(w.destination.guest.has_value());
      CHECK(trip.report.exit() != Exit::done);
      break;
    case Whereabouts::destination:
      CHECK(there);
      if (trip.report.exit() == Exit::done) CHECK_FALSE(w.source.guest.has_value());
      break;
    case Whereabouts::undecided:
      CHECK(trip.report.exit() == Exit::unknown);
      break;
    case Whereabouts::lost:
      FAIL("no hypervisor died, so nothing can be lost");
  }
}

}  // namespace

TEST_CASE("engine: all well, the guest is there and gone here") {
  Trip trip;
  go(trip);
  check_world(trip);
  CHECK(trip.report.exit() == Exit::done);
  CHECK(trip.report.where == Whereabouts::destination);
  CHECK(trip.observer.phases == std::vector{Phase::begin, Phase::prepare, Phase::perform,
                                            Phase::finish, Phase::confirm, Phase::verify});
}

TEST_CASE("engine: libxl, every call refused once, or its request or reply lost") {
  for (const bool wakes : {true, false}) {
    Trip plain;
    plain.world.libxl = true;
    go(plain);
    CHECK(plain.report.exit() == Exit::done);
    const int calls = plain.world.calls;
    REQUIRE(calls >= 7);
    for (int n = 0; n < calls; ++n)
      for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
        Trip trip;
        trip.world.libxl = true;
        trip.world.confirm_wakes = wakes;
        trip.world.faults[n] = fault;
        go(trip);
        const FakeWorld& w = trip.world;
        INFO("call ", n, " fault ", static_cast<int>(fault), " wakes ", wakes, ": ",
             fmt::format("{}", fmt::join(w.log, "; ")));
        if (trip.report.error) INFO(trip.report.error->message);
        CHECK_FALSE(w.two_seen);
        const bool one = FakeWorld::runs(w.source) != FakeWorld::runs(w.destination);
        if (trip.report.exit() != Exit::unknown) {
          CHECK(one);
          CHECK(FakeWorld::runs(w.source) == (trip.report.where == Whereabouts::source));
          // Whose lock it is after a lost answer to Begin is not known, so none is given back.
          if (!w.log[n].ends_with("S begin")) CHECK_FALSE(w.source.job);
        }
      }
  }
}

TEST_CASE("engine: libxl, every pair of faults leaves at most one copy, and a true report") {
  for (const bool wakes : {true, false})
    for (int n = 0; n < 14; ++n)
      for (int m = n + 1; m < 18; ++m)
        for (const Fault first : {Fault::refuse, Fault::lose_request, Fault::lose_reply})
          for (const Fault second : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
            Trip trip;
            trip.world.libxl = true;
            trip.world.confirm_wakes = wakes;
            trip.world.faults = {{n, first}, {m, second}};
            go(trip);
            const FakeWorld& w = trip.world;
            INFO("calls ", n, " ", m, ": ", fmt::format("{}", fmt::join(w.log, "; ")));
            if (trip.report.error) INFO(trip.report.error->message);
            CHECK_FALSE(w.two_seen);
            CHECK_FALSE(w.two_running());
            const bool here = FakeWorld::runs(w.source), there = FakeWorld::runs(w.destination);
            if (trip.report.exit() == Exit::done) CHECK(there);
            if (!here && !there) CHECK(trip.report.exit() == Exit::unknown);
          }
}

TEST_CASE("engine: libxl, memory is sent to no port but those of sshd and libvirt's daemon") {
  for (const auto* uri : {"xen+tcp://s:7000/system", "xen+ssh://s:2222/system", "xen:///system"}) {
    Trip trip;
    trip.world.libxl = true;
    trip.world.prepare_refusal = ErrorId::unsupported;
    travel(trip, {.source_uri = uri});
    CHECK(trip.report.where == Whereabouts::source);
    for (const std::string& call : trip.world.log) CHECK_FALSE(call.contains("perform"));
    REQUIRE(trip.report.error);
    CHECK(fmt::format("{}", fmt::join(trip.report.error->notes, "; "))
              .contains("keeps the guest's lock until it is restarted"));
  }
}

TEST_CASE("engine: libxl, a guest that stands still is not begun with") {
  Trip trip;
  trip.world.libxl = true;
  trip.world.source.stands = true;
  go(trip);
  CHECK(trip.report.exit() == Exit::unknown);
  CHECK(trip.report.error->remedy.contains("Restart the libvirt daemons"));
  for (const std::string& call : trip.world.log) CHECK_FALSE(call.ends_with("begin"));
}

TEST_CASE("engine: libxl, a restarted daemon calls a guest that stands still pmsuspended") {
  Trip trip;
  trip.world.libxl = true;
  trip.world.source.stands = true;
  go(trip, {}, {Flag::live}, {DomainState::pmsuspended, 0});
  CHECK(trip.report.exit() == Exit::unknown);
  for (const std::string& call : trip.world.log) CHECK_FALSE(call.ends_with("begin"));
}

TEST_CASE("engine: libxl, a copy whose source daemon was restarted is over") {
  Trip trip;
  trip.world.libxl = trip.world.restarts = true;
  go(trip);
  check_world(trip);
  CHECK(trip.report.where == Whereabouts::source);
  CHECK(trip.report.exit() == Exit::failed);
  CHECK(trip.report.total < std::chrono::minutes(1));
}

TEST_CASE("engine: a guest that another migration stopped is not begun with") {
  Trip trip;
  go(trip, {}, {Flag::live}, {DomainState::paused, kPausedMigration});
  CHECK(trip.report.exit() == Exit::unknown);
  CHECK(trip.report.where == Whereabouts::undecided);
  CHECK(trip.report.error->remedy.contains("resume web1"));
  CHECK(trip.world.source.guest == DomainStatus{DomainState::paused, kPausedMigration});
  CHECK_FALSE(trip.world.destination.guest.has_value());
  const auto sent = [](const std::string& call) { return call.contains("perform"); };
  CHECK(std::ranges::none_of(trip.world.log, sent));
}

TEST_CASE("engine: a guest paused by its owner arrives paused") {
  Trip trip;
  go(trip, {}, {Flag::live}, {DomainState::paused, kPausedUser});
  CHECK(trip.report.exit() == Exit::done);
  CHECK(trip.report.where == Whereabouts::destination);
  REQUIRE(trip.world.destination.guest);
  CHECK(trip.world.destination.guest->state == DomainState::paused);
  CHECK_FALSE(trip.world.destination.executed);
  CHECK_FALSE(trip.world.source.guest);
}

TEST_CASE(
    "engine: every call refused once, or its request or reply lost, with and without record") {
  Trip plain;
  go(plain);
  const int calls = plain.world.calls;
  REQUIRE(calls >= 7);
  for (const bool records : {false, true})
    for (int n = 0; n < calls; ++n)
      for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
        INFO("call ", n, " fault ", static_cast<int>(fault), " records ", records);
        Trip trip;
        trip.world.faults[n] = fault;
        trip.world.keeps_records = records;
        go(trip);
        check_world(trip);
        if (trip.report.error) INFO(trip.report.error->message);
        INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
        if (records) CHECK(trip.report.where != Whereabouts::undecided);
      }
}

TEST_CASE(
    "engine: the older protocols, with every call refused once, or its request or reply lost") {
  for (const Protocol protocol : {Protocol::v1, Protocol::v2, Protocol::v3}) {
    Trip plain;
    travel(plain, {.protocol = protocol});
    check_world(plain);
    CHECK(plain.report.exit() == Exit::done);
    const bool confirmed = std::ranges::any_of(
        plain.world.log, [](const std::string& call) { return call.contains("confirm"); });
    CHECK(confirmed == (protocol == Protocol::v3));
    for (int n = 0; n < plain.world.calls; ++n)
      for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
        INFO("protocol ", static_cast<int>(protocol), " call ", n, " fault ",
             static_cast<int>(fault));
        Trip trip;
        trip.world.faults[n] = fault;
        travel(trip, {.protocol = protocol});
        if (trip.report.error) INFO(trip.report.error->message);
        check_world(trip);
        // What the source no longer has is never ended on the destination by us.
        const bool nowhere = !trip.world.source.guest && !trip.world.destination.guest;
        const bool by_loss = trip.report.where == Whereabouts::undecided;
        if (nowhere) CHECK(by_loss);
      }
  }
}

TEST_CASE("engine: peer-to-peer, with every call refused once, or its request or reply lost") {
  Trip plain;
  plain.world.by_source = true;
  travel(plain, {.kind = Kind::peer_to_peer});
  CHECK(plain.report.exit() == Exit::done);
  CHECK(plain.report.where == Whereabouts::destination);
  for (int n = 0; n < plain.world.calls; ++n)
    for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
      INFO("call ", n, " fault ", static_cast<int>(fault));
      Trip trip;
      trip.world.by_source = true;
      trip.world.faults[n] = fault;
      travel(trip, {.kind = Kind::peer_to_peer});
      check_world(trip);
      CHECK(trip.report.where != Whereabouts::undecided);
    }
}

TEST_CASE("engine: post-copy that broke is left on both hosts, to be resumed") {
  Trip trip;
  trip.world.postcopy_breaks = true;
  travel(trip, {.flags = {Flag::live, Flag::postcopy}});
  CHECK(trip.report.exit() == Exit::unknown);
  CHECK(trip.report.error->remedy.contains("--postcopy-resume"));
  CHECK(trip.world.source.guest == DomainStatus{DomainState::paused, kPausedPostcopyFailed});
  CHECK(trip.world.destination.guest == DomainStatus{DomainState::running, kRunningPostcopyFailed});
  for (const std::string& call : trip.world.log) {
    CHECK_FALSE(call.ends_with("S confirm"));
    CHECK_FALSE(call.ends_with("resume"));
    CHECK_FALSE(call.ends_with("finish-cancelled"));
  }
}

TEST_CASE("engine: an abort that hangs is given up, and the outcome told") {
  Trip trip;
  trip.world.hangs = true;
  travel(trip, {.stop = "Ctrl-C"});
  CHECK(trip.report.exit() == Exit::cancelled);
  CHECK(trip.report.where == Whereabouts::source);
  CHECK(FakeWorld::runs(trip.world.source));
  CHECK_FALSE(trip.world.destination.guest.has_value());
  CHECK(trip.report.total < std::chrono::minutes(3));
}

TEST_CASE("engine: a copy given up at the switch-over is told, though Perform never answers") {
  for (const Kind kind : {Kind::managed, Kind::peer_to_peer}) {
    CAPTURE(kind == Kind::managed);
    Trip trip;
    trip.world.forgets = true;
    trip.world.by_source = kind == Kind::peer_to_peer;
    travel(trip, {.kind = kind});
    CHECK(trip.report.exit() == Exit::failed);
    CHECK(trip.report.where == Whereabouts::source);
    CHECK(FakeWorld::runs(trip.world.source));
    CHECK_FALSE(trip.world.destination.guest.has_value());
    CHECK(trip.report.total < std::chrono::seconds(15));
    const auto stuck = std::ranges::count_if(trip.report.notes, [](const std::string& note) {
      return note.contains("still takes the migration to be under way");
    });
    CHECK(stuck == 1);
  }
}

TEST_CASE("engine: cancelled before every step, alone and with every call failing once") {
  for (const Protocol protocol : {Protocol::v2, Protocol::v3_params}) {
    Trip plain;
    travel(plain, {.protocol = protocol});
    const auto& names = plain.world.log;
    const auto perform = std::ranges::find_if(
        names, [](const std::string& call) { return call.ends_with(" perform"); });
    REQUIRE(perform != names.end());
    const auto switched = static_cast<int>(perform - names.begin());
    for (int stop = 0; stop < plain.world.calls; ++stop) {
      CAPTURE(stop);
      Trip trip;
      travel(trip, {.protocol = protocol, .stop_before = stop});
      check_world(trip);
      // Perform ends here as soon as it was called: only before it can be stopped.
      const bool stays = trip.report.where == Whereabouts::source;
      CHECK(stays == (stop < switched));
      if (stays) CHECK(trip.report.exit() == Exit::cancelled);
      for (int n = 0; n < plain.world.calls + 4; ++n)
        for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
          Trip broken;
          broken.world.faults = {{n, fault}};
          travel(broken, {.protocol = protocol, .stop_before = stop});
          CAPTURE(n);
          check_world(broken);
        }
    }
  }
}

TEST_CASE("engine: an offline migration that fails leaves nothing on the destination") {
  Trip plain;
  const Way way{.flags = {Flag::offline, Flag::persist_dest}, .initial = {DomainState::shutoff, 1}};
  travel(plain, way);
  CHECK(plain.world.destination.persistent);
  int finish = -1;
  for (std::size_t i = 0; i < plain.world.log.size(); ++i)
    if (plain.world.log[i].ends_with("D finish")) finish = static_cast<int>(i);
  REQUIRE(finish >= 0);
  for (const Fault fault : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
    INFO("fault ", static_cast<int>(fault));
    Trip trip;
    trip.world.faults[finish] = fault;
    travel(trip, way);
    const bool there = trip.world.destination.guest.has_value();
    CHECK(there == (fault == Fault::lose_reply));
    CHECK((trip.report.exit() == Exit::done) == there);
    CHECK((there || trip.world.source.guest.has_value()));
  }
}

TEST_CASE("engine: a destination that cannot be asked at the end is not called done") {
  Trip plain;
  go(plain);
  const int last = plain.world.calls - 1;
  Trip trip;
  trip.world.destination_unreachable_after_loss = true;
  for (int n = last - 3; n <= last; ++n)
    if (plain.world.log[n].ends_with("D status")) trip.world.faults[n] = Fault::lose_request;
  REQUIRE(trip.world.faults.size() == 1);
  go(trip);
  CHECK(trip.report.exit() == Exit::partly);
  CHECK(trip.report.where == Whereabouts::destination);
  CHECK(trip.report.error->remedy.contains("domstate web1"));
}

TEST_CASE("engine: every pair of faults leaves at most one runnable copy, and a true report") {
  Trip plain;
  go(plain);
  const int calls = plain.world.calls + 4;
  for (int n = 0; n < calls; ++n)
    for (int m = n + 1; m < calls; ++m)
      for (const Fault first : {Fault::refuse, Fault::lose_request, Fault::lose_reply})
        for (const Fault second : {Fault::refuse, Fault::lose_request, Fault::lose_reply}) {
          Trip trip;
          trip.world.faults = {{n, first}, {m, second}};
          go(trip);
          INFO("calls ", n, " ", m, ": ", fmt::format("{}", fmt::join(trip.world.log, "; ")));
          CHECK_FALSE(trip.world.two_running());
          const bool nobody =
              !FakeWorld::runs(trip.world.source) && !FakeWorld::runs(trip.world.destination);
          if (nobody) CHECK(trip.report.exit() != Exit::done);
          if (trip.report.exit() == Exit::done) CHECK(FakeWorld::runs(trip.world.destination));
        }
}

TEST_CASE("engine: a lost Finish reply is the destination's guest, not two") {
  for (const bool records : {false, true}) {
    Trip plain;
    go(plain);
    int finish = -1;
    for (int i = 0; i < plain.world.calls; ++i)
      if (plain.world.log[i].ends_with("D finish")) finish = i;
    REQUIRE(finish >= 0);
    Trip trip;
    trip.world.keeps_records = records;
    trip.world.faults[finish] = Fault::lose_reply;
    go(trip);
    check_world(trip);
    CHECK(trip.report.where == Whereabouts::destination);
    CHECK(trip.report.exit() == Exit::done);

    Trip as_virsh;
    as_virsh.world.faults[finish] = Fault::lose_reply;
    EngineOptions options;
    options.resume_on_lost_finish_for_tests = true;
    go(as_virsh, options);
    CHECK(as_virsh.world.two_running());  // so the check above can fail
  }
}

TEST_CASE("engine: Perform's answer and the source lost for good are not called safe") {
  Trip plain;
  go(plain);
  int perform = -1;
  for (std::size_t i = 0; i < plain.world.log.size(); ++i)
    if (plain.world.log[i].ends_with("S perform")) perform = static_cast<int>(i);
  REQUIRE(perform >= 0);
  Trip trip;
  trip.world.faults[perform] = Fault::lose_reply;
  trip.world.source_unreachable_after_loss = true;
  go(trip);
  CHECK(trip.report.exit() == Exit::unknown);
  CHECK(trip.report.error->remedy.contains("safe to resume"));
  CHECK_FALSE(trip.world.destination.guest.has_value());
  // The destination's own cookie of Prepare means "same host" to it when it is sent back.
  REQUIRE(trip.world.cancelled_with.has_value());
  CHECK(trip.world.cancelled_with->empty());
}

TEST_CASE("engine: a source that went away before the copy is not called safe either") {
  Trip trip;
  trip.world.faults[0] = Fault::lose_reply;
  trip.world.source_unreachable_after_loss = true;
  go(trip);
  INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
  CHECK(trip.report.exit() == Exit::unknown);
  CHECK(trip.report.error->message.contains("whether the guest still runs there is not known"));
  CHECK_FALSE(trip.report.error->remedy.contains("resume"));
  CHECK_FALSE(trip.world.destination.guest.has_value());
}

// Which call, counted from 0, is that one in an undisturbed run.
static int call_number(FlagSet flags, DomainStatus initial, std::string_view call) {
  Trip plain;
  go(plain, {}, flags, initial);
  for (std::size_t n = 0; n < plain.world.log.size(); ++n)
    if (plain.world.log[n].ends_with(call)) return static_cast<int>(n);
  FAIL("no such call");
  return -1;
}

TEST_CASE("engine: offline, a definition that was only prepared is no arrival") {
  constexpr FlagSet flags{Flag::offline, Flag::persist_dest, Flag::undefine_source};
  constexpr DomainStatus off{DomainState::shutoff, 1};
  Trip trip;
  trip.world.faults[call_number(flags, off, "D finish")] = Fault::lose_request;
  go(trip, {}, flags, off);
  INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
  CHECK(trip.world.source.guest.has_value());
  CHECK(trip.report.exit() == Exit::failed);
}

TEST_CASE("engine: in post-copy the source is not ended while the destination needs its memory") {
  constexpr FlagSet flags{Flag::live, Flag::postcopy};
  Trip trip;
  trip.world.arrives_as = DomainStatus{DomainState::running, kRunningPostcopyFailed};
  trip.world.faults[call_number(flags, kRunning, "D finish")] = Fault::lose_reply;
  go(trip, {}, flags);
  INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
  CHECK(trip.world.source.guest.has_value());
  CHECK(trip.report.exit() == Exit::unknown);
}

TEST_CASE("engine: peer-to-peer, a phase's \"no such domain\" is not the user's") {
  Trip trip;
  trip.world.perform_refusal = ErrorId::no_domain;
  travel(trip, {.kind = Kind::peer_to_peer});
  CHECK(trip.report.where == Whereabouts::source);
  CHECK(trip.report.exit() == Exit::failed);
}

TEST_CASE("engine: stopped before it begins, nothing is asked of the hosts") {
  for (const Kind kind : {Kind::managed, Kind::peer_to_peer}) {
    Trip trip;
    travel(trip, {.kind = kind, .stopped = true});
    INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
    CHECK(trip.report.exit() == Exit::cancelled);
    CHECK(trip.report.where == Whereabouts::source);
    for (const std::string& call : trip.world.log)
      CHECK((!call.ends_with("begin") && !call.ends_with("perform")));
  }
}

TEST_CASE("engine: peer-to-peer, a source that cannot be asked is no success") {
  Trip trip;
  trip.world.faults[1] = Fault::lose_request;  // after the first look at its state
  trip.world.source_unreachable_after_loss = true;
  trip.world.destination.guest = DomainStatus{DomainState::running, kRunningMigrated};
  travel(trip, {.kind = Kind::peer_to_peer});
  INFO(fmt::format("{}", fmt::join(trip.world.log, "; ")));
  CHECK(trip.report.where == Whereabouts::destination);
  CHECK(trip.report.exit() == Exit::partly);
}

TEST_CASE("engine: offline, the definition moves and nothing is copied") {
  Trip trip;
  go(trip, {}, {Flag::offline, Flag::persist_dest}, {DomainState::shutoff, 1});
  CHECK(trip.report.exit() == Exit::done);
  for (const std::string& call : trip.world.log) CHECK_FALSE(call.ends_with("perform"));
}
