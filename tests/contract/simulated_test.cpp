// The contract over simulated hosts, however they are reached; real.cpp asks real daemons.
#include <doctest/doctest.h>

#include "core/drivers/remote/remote.hpp"
#include "core/serve/host_service.hpp"
#include "tests/contract/host_contract.hpp"
#include "tests/core/drivers/test/world.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/listen.hpp"
#include "transports/unix.hpp"

namespace vmferry::contract {
namespace {

using sim::SmallWorld;

enum class Way : std::uint8_t { memory, pipe, pieces, socket };

Task<> serve_one(std::unique_ptr<Stream> stream, Clock& clock, Opener open) {
  Task<Result<>> served = serve::serve_client(std::move(stream), clock, std::move(open));
  const Result<> ended = co_await std::move(served);
  CHECK(ended);
}

Task<std::unique_ptr<Host>> connect(sim::World& world, std::string host) {
  co_return world.connect(host);
}

Task<std::unique_ptr<Stream>> over_socket(Clock& clock, std::string path,
                                          std::unique_ptr<Stream>& served) {
  const auto ex = co_await asio::this_coro::executor;
  const auto listener = listen_unix(ex, path);
  Task<std::unique_ptr<Stream>> dialling = connect_unix(clock, path);
  std::unique_ptr<Stream> stream = co_await std::move(dialling);
  Accepted accepted = co_await listener->accept();
  served = std::move(accepted.stream);
  co_return stream;
}

struct Reached : SmallWorld {
  TempDir dir;
  Ends ends;

  explicit Reached(Way way) {
    if (way != Way::memory) {
      a = through("a", way);
      b = through("b", way);
    }
    ends.a = a.get();
    ends.b = b.get();
    ends.vm = vm;
    ends.run = [this](Task<> task) { clock.run(std::move(task)); };
    ends.clock = &clock;
    ends.live = FlagSet{Flag::live};
  }
  ~Reached() {
    a.reset();
    b.reset();
    clock.settle();
    CHECK(world->listening() == 0);
  }
  std::unique_ptr<Host> through(std::string host, Way way) {
    std::unique_ptr<Stream> ours, served;
    if (way == Way::socket) {
      ours = clock.run(over_socket(clock, dir / host, served));
    } else {
      PipeEnds pair = make_pipe(io.get_executor(), way == Way::pieces ? 13 : SIZE_MAX);
      ours = std::move(pair.a);
      served = std::move(pair.b);
    }
    Opener open = [this, host](const std::string&) { return connect(*world, host); };
    asio::co_spawn(io, serve_one(std::move(served), clock, std::move(open)),
                   [](const std::exception_ptr& e) { CHECK_FALSE(e); });
    return clock.run(open_remote(std::move(ours), clock, {.name = "test:///" + host}));
  }
};

template <class Check>
void every_way(Check check) {
  for (const Way way : {Way::memory, Way::pipe, Way::pieces, Way::socket}) {
    CAPTURE(std::to_underlying(way));
    Reached r(way);
    check(r);
  }
}

TEST_CASE("contract: look-up and identity") {
  every_way([](Reached& r) {
    check_lookup(r.ends);
    check_identity(r.ends);
  });
}

TEST_CASE("contract: life cycle, definitions, refusals") {
  every_way([](Reached& r) {
    check_life_cycle(r.ends);
    check_definitions(r.ends, sim::guest_xml("fresh"));
    check_refusals(r.ends);
    check_rubbish(r.ends);
  });
}

TEST_CASE("contract: events") {
  every_way([](Reached& r) { check_events(r.ends); });
}

TEST_CASE("contract: a migration there and back, exact to the bit") {
  every_way([](Reached& r) {
    check_migration(r.ends);
    CHECK(r.world->executing(r.vm.uuid) == 1);
    CHECK(r.world->memory_exact("a", r.vm.uuid));
    CHECK_FALSE(r.world->stale_execution);
  });
}

TEST_CASE("contract: a migration that is given up") {
  every_way([](Reached& r) {
    check_cancelled_finish(r.ends);
    check_abort(r.ends);
    CHECK(r.world->memory_exact("a", r.vm.uuid));
  });
}

}  // namespace
}  // namespace vmferry::contract
