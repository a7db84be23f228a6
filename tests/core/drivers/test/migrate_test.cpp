#include <doctest/doctest.h>

#include "core/async/race.hpp"
#include "tests/core/drivers/test/world.hpp"

namespace vmferry::sim {
namespace {

using namespace std::chrono_literals;

TEST_CASE("test driver: a live migration by hand") {
  SmallWorld w;
  w.clock.pass(2s);
  const JobStats stats = migrated(w);
  CHECK(w.on("b").status == DomainStatus{DomainState::running, kRunningMigrated});
  CHECK(w.on("a").status == DomainStatus{DomainState::shutoff, kShutoffMigrated});
  CHECK_FALSE(w.on("b").persistent);
  CHECK(w.world->executing(w.vm.uuid) == 1);
  w.clock.pass(1s);
  CHECK(w.world->memory_exact("b", w.vm.uuid));
  CHECK(w.on("b").memory.writes() >= 100);
  CHECK(stats.type == JobType::completed);
  CHECK(stats.number("memory_iteration") >= 1);
  CHECK(stats.number("memory_constant") > 20);
  CHECK(stats.number("downtime") < 400);
  CHECK(w.world->listening() == 0);
}

TEST_CASE("test driver: a damaged page is noticed by the checker") {
  SmallWorld w;
  migrated(w);
  w.on("b").memory.flip_bit(3);
  CHECK_FALSE(w.world->memory_exact("b", w.vm.uuid));
}

TEST_CASE("test driver: without --live the guest stands still from the start") {
  SmallWorld w;
  const JobStats still = migrated(w, {});
  CHECK(still.number("memory_iteration") == 1);
  CHECK(still.number("downtime") > 500);
}

TEST_CASE("test driver: what flags cost and save shows in bytes and time") {
  SmallWorld plain;
  const JobStats base = migrated(plain);
  SUBCASE("zlib") {
    SmallWorld w(guest_xml("vm", 50, 256));
    Params p;
    p.add("compression", std::string("mt"));
    const JobStats s = migrated(w, {Flag::live, Flag::compressed}, p);
    CHECK(s.number("memory_processed") * 2 < base.number("memory_processed"));
    CHECK(s.number("compression_pages") > 100);
  }
  SUBCASE("xbzrle sends changed words of pages that were sent before") {
    SmallWorld w;
    const JobStats s = migrated(w, {Flag::live, Flag::compressed});
    CHECK(s.number("compression_pages") > 0);
    CHECK(w.world->memory_exact("b", w.vm.uuid));
  }
  SUBCASE("a limit") {
    SmallWorld w;
    Params p;
    p.add("bandwidth", std::uint64_t{10});
    CHECK(migrated(w, {Flag::live}, p).number("time_elapsed") > 4 * base.number("time_elapsed"));
  }
  SUBCASE("two streams") {
    SmallWorld w;
    CHECK(migrated(w, {Flag::live, Flag::parallel}).number("time_elapsed") * 3 <
          base.number("time_elapsed") * 2);
  }
  SUBCASE("storage") {
    SmallWorld w;
    const JobStats all = migrated(w, {Flag::live, Flag::non_shared_disk});
    CHECK(all.number("disk_processed") > 100000000);
    SmallWorld v;
    const JobStats top = migrated(v, {Flag::live, Flag::non_shared_inc});
    CHECK(top.number("disk_processed") < 30000000);
    SmallWorld u;
    Params none;
    none.add("migrate_disks", std::string("vdz"));
    CHECK(migrated(u, {Flag::live, Flag::non_shared_disk}, none).number("disk_processed") == 0);
  }
  SUBCASE("tls") {
    SmallWorld w;
    CHECK(migrated(w, {Flag::live, Flag::tls}).number("memory_processed") >
          base.number("memory_processed"));
  }
}

TEST_CASE("test driver: auto-converge throttles a busy guest until the copy ends") {
  SmallWorld w(guest_xml("vm", 3000));
  const JobStats s = migrated(w, {Flag::live, Flag::auto_converge});
  CHECK(s.number("auto_converge_throttle") >= 20);
  CHECK(w.on("b").throttle == 0);
}

TEST_CASE("test driver: a guest that never gets slower does not converge by itself") {
  SmallWorld w(guest_xml("vm", 3000));
  Walk walk;
  Task<> moving = walk_all(w, walk, {Flag::live}, {});
  CHECK_THROWS_AS(w.clock.run(with_deadline(w.clock, 600s, "the end", std::move(moving))), Error);
  CHECK(w.on("a").status.runs());
  CHECK_FALSE(w.on("a").out);
}

Task<> push(SmallWorld& w, Micros after) {
  co_await w.clock.sleep(after);
  co_await w.a->start_postcopy(w.vm);
}
Task<bool> yes(Task<> body) {
  co_await std::move(body);
  co_return true;
}
Task<> with_postcopy(SmallWorld& w, Walk& walk) {
  Task<bool> moving = yes(walk_all(w, walk, {Flag::live, Flag::postcopy}, {}));
  Task<bool> pushing = yes(push(w, 2s));
  co_await both(std::move(moving), std::move(pushing));
}

TEST_CASE("test driver: post-copy ends a copy that would not, with page faults") {
  SmallWorld w(guest_xml("vm", 3000));
  Walk walk;
  std::vector<std::int32_t> details;
  auto kept = w.clock.run(w.b->subscribe(w.vm, [&](const DomainEvent& e) {
    if (e.event == kEventResumed) details.push_back(e.detail);
  }));
  w.clock.run(with_postcopy(w, walk));
  CHECK(details == std::vector{kResumedPostcopy, kResumedMigrated});
  CHECK(w.on("a").completed->number("memory_postcopy_requests") > 0);
  CHECK(w.world->memory_exact("b", w.vm.uuid));
  CHECK(w.world->executing(w.vm.uuid) == 1);
}

TEST_CASE("test driver: offline, paused, persistent, undefined") {
  SUBCASE("offline moves the definition") {
    SmallWorld w;
    w.clock.run(w.a->destroy(w.vm, 0));
    migrated(w, {Flag::offline, Flag::persist_dest, Flag::undefine_source});
    CHECK_FALSE(w.has("a"));
    CHECK(w.on("b").persistent);
    CHECK_FALSE(w.on("b").active());
  }
  SUBCASE("paused") {
    SmallWorld w;
    migrated(w, {Flag::live, Flag::paused});
    CHECK(w.on("b").status == DomainStatus{DomainState::paused, kPausedUser});
    CHECK(w.world->executing(w.vm.uuid) == 0);
  }
  SUBCASE("persistent there, gone here") {
    SmallWorld w;
    Params p;
    p.add("destination_name", std::string("moved"));
    migrated(w, {Flag::live, Flag::persist_dest, Flag::undefine_source}, p);
    CHECK_FALSE(w.has("a"));
    CHECK(w.on("b").persistent);
    CHECK(w.on("b").name == "moved");
  }
}

TEST_CASE("test driver: refusals") {
  const auto code = [](SmallWorld& w, FlagSet flags, Params params = {}) {
    try {
      migrated(w, flags, std::move(params));
    } catch (const Error& e) {
      CHECK(w.on("a").status.runs());
      w.b.reset();
      CHECK_FALSE(w.has("b"));
      return e.wire.code;
    }
    return 0;
  };
  SmallWorld w;
  SUBCASE("no version in common") {
    w.world->host("b")->spec.lowest = 3;
    w.world->host("a")->spec.highest = 2;
    CHECK(code(w, {Flag::live}) == 84);
  }
  SUBCASE("the lower version wins, and cannot do post-copy") {
    w.world->host("b")->spec.highest = 2;
    Walk walk;
    CHECK_THROWS_AS(w.clock.run(with_postcopy(w, walk)), Error);
  }
  SUBCASE("not enough memory") {
    w.world->host("b")->spec.memory_kib = 1024;
    CHECK(code(w, {Flag::live}) == 1);
  }
  SUBCASE("unsafe cache") {
    SmallWorld v(guest_xml("vm", 50, 64, "writeback"));
    CHECK(code(v, {Flag::live}) == 81);
    SmallWorld u(guest_xml("vm", 50, 64, "writeback"));
    CHECK(code(u, {Flag::live, Flag::unsafe}) == 0);
  }
  SUBCASE("a name for another certificate") {
    Params p;
    p.add("tls.destination", std::string("elsewhere"));
    CHECK(code(w, {Flag::live, Flag::tls}, p) == 9);
  }
  SUBCASE("the driver's rules") {
    SmallWorld v(guest_xml("vm"), "vz");
    CHECK(code(v, {Flag::live, Flag::compressed}) != 0);
  }
}

TEST_CASE("test driver: closing a connection ends what depends on it") {
  SmallWorld w;
  Walk walk;
  SUBCASE("destination between prepare and finish") {
    w.clock.run(walk_to_perform(w, walk, {Flag::live}, {}));
    w.b.reset();
    CHECK_FALSE(w.has("b"));
    w.clock.run(w.a->confirm(walk.source, {}, Verdict::cancelled));
    CHECK(w.on("a").status == DomainStatus{DomainState::running, kRunningMigrationCanceled});
  }
  SUBCASE("source after perform: the guest stays paused, as libvirt leaves it") {
    w.clock.run(walk_to_perform(w, walk, {Flag::live}, {}));
    w.a.reset();
    CHECK(w.on("a").status == DomainStatus{DomainState::paused, kPausedMigration});
    CHECK_FALSE(w.on("a").out);
  }
  SUBCASE("asking for the record fences") {
    w.clock.run(walk_to_perform(w, walk, {Flag::live}, {}));
    CHECK(w.clock.run(w.b->ever_started(w.vm, walk.begun.cookie)) == std::optional(false));
    CHECK_THROWS_AS(w.clock.run(w.b->finish(walk.destination, walk.performed, Verdict::completed)),
                    Error);
    CHECK_FALSE(w.has("b"));
  }
}

TEST_CASE("test driver: peer-to-peer, tunnelled") {
  SmallWorld w;
  const Cookie none;
  const PhaseCall call{Protocol::v3_params,
                       w.vm,
                       {},
                       {Flag::live, Flag::peer2peer, Flag::tunnelled, Flag::persist_dest}};
  w.clock.run(w.a->perform(call, none, "test:///b"));
  CHECK(w.on("b").status.runs());
  CHECK(w.on("b").persistent);
  CHECK_FALSE(w.on("a").active());
  CHECK(w.world->memory_exact("b", w.vm.uuid));
}

}  // namespace
}  // namespace vmferry::sim
