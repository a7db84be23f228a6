// Flags and parameters whose effect shows in bytes, time, or who listens.
#include <doctest/doctest.h>

#include "core/async/race.hpp"
#include "tests/core/drivers/test/world.hpp"

namespace vmferry::sim {
namespace {

using namespace std::chrono_literals;

std::string refusal(SmallWorld& w, FlagSet flags, Params params) {
  try {
    migrated(w, flags, std::move(params));
  } catch (const Error& e) {
    return e.message;
  }
  return {};
}

Params one(std::string_view field, TypedParam::Value value) {
  Params params;
  params.add(field, std::move(value));
  return params;
}

TEST_CASE("test driver: zerocopy and tunnelling show in time, zstd in bytes") {
  SmallWorld plain, zero, zstd;
  const JobStats base = migrated(plain, {Flag::live, Flag::parallel});
  CHECK(migrated(zero, {Flag::live, Flag::parallel, Flag::zerocopy}).number("time_elapsed") <
        base.number("time_elapsed"));
  CHECK(migrated(zstd, {Flag::live, Flag::parallel, Flag::compressed},
                 one("compression", std::string("zstd")))
            .number("compression_pages") > 0);
}

TEST_CASE("test driver: pinning for RDMA takes time before the first page") {
  SmallWorld plain, pinned;
  const std::uint64_t base = migrated(plain).number("setup_time");
  CHECK(migrated(pinned, {Flag::live, Flag::rdma_pin_all},
                 one("migrate_uri", std::string("rdma://b")))
            .number("setup_time") > base);
}

TEST_CASE("test driver: more connections are faster, where one cannot fill the link") {
  SmallWorld two, four;
  for (SmallWorld* const w : {&two, &four}) w->world->link().stream_bytes_per_s = 20 << 20;
  const FlagSet flags{Flag::live, Flag::parallel};
  const std::uint64_t slow =
      migrated(two, flags, one("parallel.connections", std::int32_t{2})).number("time_elapsed");
  CHECK(migrated(four, flags, one("parallel.connections", std::int32_t{4})).number("time_elapsed") <
        slow);
}

TEST_CASE("test driver: how far and how fast auto-converge throttles") {
  const FlagSet flags{Flag::live, Flag::auto_converge};
  SmallWorld gentle(guest_xml("vm", 3000)), sudden(guest_xml("vm", 3000)),
      steep(guest_xml("vm", 3000));
  const JobStats base = migrated(gentle, flags);
  const JobStats first = migrated(sudden, flags, one("auto_converge.initial", std::int32_t{90}));
  CHECK(first.number("auto_converge_throttle") >= 90);
  CHECK(first.number("memory_iteration") < base.number("memory_iteration"));
  CHECK(migrated(steep, flags, one("auto_converge.increment", std::int32_t{40}))
            .number("memory_iteration") < base.number("memory_iteration"));
}

TEST_CASE("test driver: a cache that is too small, and how hard zlib tries") {
  const FlagSet flags{Flag::live, Flag::compressed};
  SmallWorld plain(guest_xml("vm", 400)), tight(guest_xml("vm", 400));
  const JobStats base = migrated(plain, flags);
  const JobStats small =
      migrated(tight, flags, one("compression.xbzrle.cache", std::uint64_t{1 << 20}));
  CHECK(small.number("compression_cache_misses") > base.number("compression_cache_misses"));
  CHECK(small.number("compression_pages") < base.number("compression_pages"));
  std::uint64_t bytes[2] = {};
  for (const std::int32_t level : {1, 9}) {
    SmallWorld w(guest_xml("vm", 50, 4096));
    Params params = one("compression", std::string("mt"));
    params.add("compression.mt.level", level);
    bytes[level / 9] = migrated(w, flags, std::move(params)).number("compression_bytes");
  }
  CHECK(bytes[1] < bytes[0]);
}

TEST_CASE("test driver: where it listens, and what is kept there") {
  SmallWorld w;
  Walk walk;
  Params params = one("listen_address", std::string("192.0.2.7"));
  std::string other = guest_xml("vm");
  other.replace(other.find("<vcpu>1"), 7, "<vcpu>3");
  other.replace(other.find("<name>"), 0, "<uuid>" + to_string(w.vm.uuid) + "</uuid>");
  params.add("persistent_xml", other);
  w.clock.run(walk_all(w, walk, {Flag::live, Flag::persist_dest}, std::move(params)));
  CHECK(walk.prepared.uri.value_or("").contains("//192.0.2.7:"));
  CHECK(w.clock.run(w.b->dump_xml(w.vm, kXmlInactive)).contains("<vcpu>3"));
}

TEST_CASE("test driver: a failed disk ends a migration where that was asked for") {
  for (const bool asked : {false, true}) {
    SmallWorld w;
    w.on("a").io_error = 1;
    const FlagSet live{Flag::live};
    const std::string said = refusal(w, asked ? live.with(Flag::abort_on_error) : live, {});
    CHECK(said.contains("a disk of the guest failed") == asked);
    CHECK(w.on(asked ? "a" : "b").status.runs());
  }
}

TEST_CASE("test driver: disks") {
  constexpr FlagSet copy{Flag::live, Flag::non_shared_disk};
  SmallWorld plain, zeroes, sync;
  const std::uint64_t base = migrated(plain, copy).number("disk_processed");
  CHECK(migrated(zeroes, copy, one("migrate_disks_detect_zeroes", std::string("vda")))
            .number("disk_processed") < base);
  CHECK(migrated(sync, copy.with(Flag::non_shared_synchronous_writes)).number("disk_processed") <
        base);
  CHECK(plain.world->listening() == 0);
  SmallWorld taken;
  taken.world->listen(*taken.world->host("b"), nullptr, "nbd+tcp", "b", 49300);
  CHECK(refusal(taken, copy, one("disks_port", std::int32_t{49300})).contains("in use"));
  SmallWorld elsewhere;
  CHECK(refusal(elsewhere, copy, one("disks_uri", std::string("tcp://b:49300"))).empty());
}

TEST_CASE("test driver: while disks are copied their port is taken") {
  SmallWorld w;
  Walk walk;
  Params params = one("disks_port", std::int32_t{49300});
  w.clock.run(walk_to_perform(w, walk, {Flag::live, Flag::non_shared_disk}, params));
  CHECK(w.world->listener("nbd+tcp://b:49300").first == w.world->host("b"));
  w.b.reset();
  CHECK(w.world->listening() == 0);
}

TEST_CASE("test driver: the clients of the screen are told where to go") {
  SmallWorld w;
  migrated(w, {Flag::live}, one("graphics_uri", std::string("spice://elsewhere:5900")));
  CHECK(w.on("a").clients_sent_to == "spice://elsewhere:5900");
}

TEST_CASE("test driver: the speed that is assumed for the last phase decides when it comes") {
  SmallWorld plain(guest_xml("vm", 200)), slow(guest_xml("vm", 200));
  slow.on("a").max_downtime_ms = plain.on("a").max_downtime_ms = 3000;
  const JobStats base = migrated(plain);
  const JobStats s =
      migrated(slow, {Flag::live}, one("bandwidth.avail.switchover", std::uint64_t{3}));
  CHECK(s.number("memory_iteration") > base.number("memory_iteration"));
}

// -- post-copy ------------------------------------------------------------------------------------

Task<bool> yes(Task<> body) {
  co_await std::move(body);
  co_return true;
}
Task<> push(SmallWorld& w) {
  co_await w.clock.sleep(2s);
  co_await w.a->start_postcopy(w.vm);
}
Task<> walk_postcopy(SmallWorld& w, Walk& walk, Params params) {
  Task<bool> moving =
      yes(walk_to_perform(w, walk, {Flag::live, Flag::postcopy}, std::move(params)));
  Task<bool> pushing = yes(push(w));
  co_await both(std::move(moving), std::move(pushing));
}
Task<> break_link(SmallWorld& w, Micros after) {
  co_await w.clock.sleep(after);
  w.world->link().up = false;
}

TEST_CASE("test driver: a limit on post-copy") {
  const auto elapsed = [](Params params) {
    SmallWorld w(guest_xml("vm", 3000));
    Walk walk;
    w.clock.run(walk_postcopy(w, walk, std::move(params)));
    const Micros began = w.clock.now();
    w.clock.run(w.b->finish(walk.destination, walk.performed, Verdict::completed));
    return w.clock.now() - began;
  };
  CHECK(elapsed(one("bandwidth.postcopy", std::uint64_t{2})) > 3 * elapsed({}));
}

TEST_CASE("test driver: the source is not ended while the destination needs its memory") {
  SmallWorld w(guest_xml("vm", 3000));
  Walk walk;
  w.clock.run(walk_postcopy(w, walk, {}));
  CHECK_THROWS_AS(w.clock.run(w.a->confirm(walk.source, {}, Verdict::completed)), Error);
  CHECK(w.on("a").active());
}

TEST_CASE("test driver: post-copy that broke is taken up again") {
  SmallWorld w(guest_xml("vm", 3000));
  Walk walk;
  w.clock.run(walk_postcopy(w, walk, one("bandwidth.postcopy", std::uint64_t{1})));
  const Cookie none;
  Task<bool> breaking = yes(break_link(w, 1s));
  auto finishing = [](SmallWorld& world, Walk& step) -> Task<bool> {
    const auto done =
        co_await settle(world.b->finish(step.destination, step.performed, Verdict::completed));
    co_return done.has_value();
  };
  const auto [ended, broke] = w.clock.run(both(finishing(w, walk), std::move(breaking)));
  CHECK_FALSE(ended);
  CHECK(broke);
  CHECK(w.on("b").status == DomainStatus{DomainState::paused, kPausedPostcopyFailed});
  w.clock.run(w.a->confirm(walk.source, none, Verdict::cancelled));
  CHECK(w.on("a").status == DomainStatus{DomainState::paused, kPausedPostcopyFailed});
  CHECK_THROWS_AS(w.clock.run(w.a->resume(w.vm)), Error);
  w.world->link().up = true;
  Walk again;
  w.clock.run(walk_all(w, again, {Flag::live, Flag::postcopy, Flag::postcopy_resume}, {}));
  CHECK(w.on("b").status == DomainStatus{DomainState::running, kRunningMigrated});
  CHECK(w.world->memory_exact("b", w.vm.uuid));
  CHECK_FALSE(w.on("a").active());
  CHECK(w.world->listening() == 0);
}

TEST_CASE("test driver: only one of two Finish calls starts the guest, and none ends it") {
  SmallWorld w(guest_xml("vm", 3000));
  Walk walk;
  w.clock.run(walk_postcopy(w, walk, {}));
  const auto finishing = [](SmallWorld& world, Walk& step, Verdict verdict) -> Task<bool> {
    const auto done = co_await settle(world.b->finish(step.destination, step.performed, verdict));
    co_return done.has_value();
  };
  SUBCASE("completed twice") {
    const auto [first, second] = w.clock.run(
        both(finishing(w, walk, Verdict::completed), finishing(w, walk, Verdict::completed)));
    CHECK((first && !second));
  }
  SUBCASE("cancelled while the first waits") {
    const auto [first, second] = w.clock.run(
        both(finishing(w, walk, Verdict::completed), finishing(w, walk, Verdict::cancelled)));
    CHECK((first && !second));
  }
  CHECK(w.on("b").status.runs());
  CHECK(w.world->memory_exact("b", w.vm.uuid));
}

// -- older protocols ------------------------------------------------------------------------------

TEST_CASE("test driver: hosts that speak older protocols") {
  SmallWorld w;
  const auto says = [&w](Protocol newest) {
    w.world->host("a")->spec.protocol = newest;
    const HostFeatures f = w.clock.run(w.a->features());
    return std::array{f.v1, f.v2, f.v3, f.v3_params};
  };
  CHECK(says(Protocol::v1) == std::array{true, false, false, false});
  CHECK(says(Protocol::v2) == std::array{false, true, false, false});
  CHECK(says(Protocol::v3) == std::array{false, true, true, false});
  CHECK(says(Protocol::v3_params) == std::array{false, true, true, true});
}

TEST_CASE("test driver: version 1 sends what the guest is ahead of its memory") {
  SmallWorld w;
  const Cookie none;
  PhaseCall far{Protocol::v1, {.name = "vm", .uuid = {}}, {}, {Flag::live}};
  far.params.add("destination_name", std::string("vm"));
  const Prepared prepared = w.clock.run(w.b->prepare(far, none));
  CHECK_FALSE(w.has("b"));
  PhaseCall near{Protocol::v1, w.vm, {}, {Flag::live}};
  near.params.add("migrate_uri", *prepared.uri);
  w.clock.run(w.a->perform(near, prepared.cookie, std::nullopt));
  CHECK_FALSE(w.on("a").active());
  w.clock.run(w.b->finish(far, none, Verdict::completed));
  CHECK(w.on("b").status.runs());
  CHECK(w.on("b").name == "vm");
  CHECK(w.world->memory_exact("b", w.vm.uuid));
}

}  // namespace
}  // namespace vmferry::sim
