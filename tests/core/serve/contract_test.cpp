// The remote driver, a pipe, our server and a simulated host: whatever a Host promises must hold
// through all of them.
#include <doctest/doctest.h>

#include "core/drivers/remote/remote.hpp"
#include "core/serve/host_service.hpp"
#include "tests/core/drivers/test/world.hpp"

namespace vmferry::serve {
namespace {

using namespace std::chrono_literals;
using sim::SmallWorld, sim::Walk;

Task<> serve_one(std::unique_ptr<Stream> stream, Clock& clock, Opener open) {
  Task<Result<>> served = serve_client(std::move(stream), clock, std::move(open));
  const Result<> ended = co_await std::move(served);
  CHECK(ended);
}

Task<std::unique_ptr<Host>> connect(sim::World& world, std::string host) {
  co_return world.connect(host);
}

// A small world whose two hosts are reached through our server.
struct Remote : SmallWorld {
  std::size_t chunk;
  explicit Remote(std::size_t chunk_max = SIZE_MAX) : chunk(chunk_max) {
    a = through("a");
    b = through("b");
  }
  ~Remote() {
    a.reset();
    b.reset();
    clock.settle();
  }
  std::unique_ptr<Host> through(std::string host) {
    PipeEnds ends = make_pipe(io.get_executor(), chunk);
    Opener open = [this, host](const std::string&) { return connect(*world, host); };
    asio::co_spawn(io, serve_one(std::move(ends.b), clock, std::move(open)),
                   [](const std::exception_ptr& e) { CHECK_FALSE(e); });
    return clock.run(open_remote(std::move(ends.a), clock, {.name = "test:///" + host}));
  }
};

TEST_CASE("contract: look-up, state and life cycle through the server") {
  Remote r;
  CHECK(r.clock.run(r.a->find("vm")).uuid == r.vm.uuid);
  CHECK(r.clock.run(r.a->find(to_string(r.vm.uuid))).name == "vm");
  CHECK(r.clock.run(r.a->find(std::to_string(r.vm.id))).name == "vm");
  const auto none = r.clock.run(settle(r.a->find("nosuch")));
  REQUIRE_FALSE(none);
  CHECK(none.error().id == ErrorId::no_domain);
  CHECK(none.error().wire.code == 42);
  CHECK(r.clock.run(r.a->status(r.vm)).state == DomainState::running);
  CHECK(r.clock.run(r.a->list(true, false)).size() == 1);
  CHECK(r.clock.run(r.a->list(false, true)).empty());
  r.clock.run(r.a->suspend(r.vm));
  CHECK(r.on("a").status.state == DomainState::paused);
  r.clock.run(r.a->resume(r.vm));
  CHECK(r.on("a").status.state == DomainState::running);
  r.clock.run(r.a->set_max_downtime(r.vm, 700));
  CHECK(r.clock.run(r.a->max_downtime(r.vm)) == 700);
  CHECK(r.clock.run(r.a->info(r.vm)).vcpus == 1);
  CHECK(r.clock.run(r.a->dump_xml(r.vm, 0)).find("<name>vm</name>") != std::string::npos);
  CHECK(r.clock.run(r.a->is_persistent(r.vm)));
  const HostIdentity id = r.clock.run(r.a->identity());
  CHECK(id.hostname == "a");
  CHECK(r.clock.run(r.a->node_info()).cpus == 16);
  CHECK(r.clock.run(r.a->free_memory()) > 0);
  const HostFeatures direct = r.clock.run(r.world->connect("a")->features());
  const HostFeatures features = r.clock.run(r.a->features());
  CHECK(features.v3_params == direct.v3_params);
  CHECK(features.p2p == direct.p2p);
  CHECK(features.change_protection == direct.change_protection);
}

TEST_CASE("contract: a live migration through the server, with its events") {
  for (const std::size_t chunk : {std::size_t{13}, SIZE_MAX}) {
    Remote r(chunk);
    std::vector<DomainEvent> events;
    auto subscription = r.clock.run(
        r.a->subscribe(r.vm, [&](const DomainEvent& event) { events.push_back(event); }));
    Walk walk;
    r.clock.run(walk_all(r, walk, {Flag::live}, {}));
    CHECK(r.on("b").status == DomainStatus{DomainState::running, kRunningMigrated});
    CHECK(r.on("a").status == DomainStatus{DomainState::shutoff, kShutoffMigrated});
    CHECK(r.world->executing(r.vm.uuid) == 1);
    r.clock.settle();
    const auto stopped = std::ranges::any_of(events, [](const DomainEvent& e) {
      return e.kind == DomainEvent::Kind::lifecycle && e.event == kEventStopped &&
             e.detail == kStoppedMigrated;
    });
    CHECK(stopped);
    subscription.reset();
  }
}

// The phases of an older protocol by hand.
Task<> walk_older(Remote& r, Protocol protocol) {
  PhaseCall call{protocol, r.vm, {}, {Flag::live}};
  Begun begun;
  if (protocol == Protocol::v3) begun = co_await r.a->begin(call);
  if (protocol < Protocol::v3) begun.xml = co_await r.a->dump_xml(r.vm, kXmlMigratable);
  call.params.set("destination_xml", begun.xml);
  const Prepared prepared = co_await r.b->prepare(call, begun.cookie);
  if (prepared.uri) call.params.set("migrate_uri", *prepared.uri);
  const Cookie sent = co_await r.a->perform(call, prepared.cookie, std::nullopt);
  const Cookie& given = protocol == Protocol::v3 ? sent : prepared.cookie;
  const Finished finished = co_await r.b->finish(call, given, Verdict::completed);
  CHECK(finished.domain);
  if (protocol < Protocol::v3) co_return;
  co_await r.a->confirm(call, finished.cookie, Verdict::completed);
}

TEST_CASE("contract: the older protocols through the server") {
  for (const Protocol protocol : {Protocol::v2, Protocol::v3}) {
    INFO("protocol ", static_cast<int>(protocol));
    Remote r;
    r.clock.run(walk_older(r, protocol));
    CHECK(r.on("b").status == DomainStatus{DomainState::running, kRunningMigrated});
    CHECK_FALSE(r.on("a").status.active());
    CHECK(r.world->executing(r.vm.uuid) == 1);
  }
}

TEST_CASE("contract: the first protocol's Finish is never used to cancel") {
  Remote r;
  PhaseCall call{Protocol::v1, r.vm, {}, {Flag::live}};
  const Cookie none;
  const auto refused = r.clock.run(settle(r.b->finish(call, none, Verdict::cancelled)));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().id == ErrorId::internal);
}

TEST_CASE("contract: a migration can be watched and aborted while its perform is under way") {
  Remote r;
  auto walk = std::make_shared<Walk>();
  std::optional<Error> failed;
  asio::co_spawn(r.io, sim::walk_to_perform(r, *walk, {Flag::live}, {}),
                 [&](const std::exception_ptr& e) {
                   try {
                     if (e) std::rethrow_exception(e);
                   } catch (...) {
                     failed = current_error();
                   }
                 });
  r.clock.pass(500ms);
  const JobStats stats = r.clock.run(r.a->job_stats(r.vm, false));
  CHECK(stats.type == JobType::unbounded);
  CHECK(stats.number("memory_total") > 0);
  r.clock.run(r.a->abort_job(r.vm, false));
  r.clock.pass(5s);
  REQUIRE(failed);
  CHECK(failed->id == ErrorId::cancelled);
  CHECK(r.on("a").status.state == DomainState::running);
  const auto ended = r.clock.run(
      settle(r.b->finish(walk->destination, walk->prepared.cookie, Verdict::cancelled)));
  const bool cleaned = ended ? !ended->domain : ended.error().wire.code == 93;
  CHECK(cleaned);
  CHECK_FALSE(r.has("b"));
}

TEST_CASE("contract: the destination's incoming guest dies with the connection that prepared it") {
  Remote r;
  auto walk = std::make_shared<Walk>();
  asio::co_spawn(r.io, sim::walk_to_perform(r, *walk, {Flag::live}, {}),
                 [walk](const std::exception_ptr&) {});
  r.clock.pass(500ms);
  CHECK(r.has("b"));
  r.b.reset();
  r.clock.pass(5s);
  CHECK_FALSE(r.has("b"));
  CHECK(r.on("a").status.state == DomainState::running);
}

}  // namespace
}  // namespace vmferry::serve
