// Many clients at the same time: migrations through one server, and clients that behave badly.
#include <doctest/doctest.h>

#include "core/drivers/remote/remote.hpp"
#include "core/serve/host_service.hpp"
#include "tests/core/drivers/test/world.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::serve {
namespace {

using namespace std::chrono_literals;
using rpc::Later, rpc::begin;
using sim::World, sim::WorldSpec, sim::HostSpec;

std::string small_guest(int number) {
  return fmt::format(
      "<domain type='test'><name>vm{}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
      "<metadata><sim:guest xmlns:sim='urn:vmferry:sim' pages='16' page-size='64' hot='8' "
      "dirty-rate='20'/></metadata></domain>",
      number);
}

// One server process: two hosts, and clients that reach them through it, as it does itself.
struct Server {
  asio::io_context io{1};
  SimClock clock{io};
  Stop drain{io.get_executor()};
  std::shared_ptr<World> world;
  int served = 0, over = 0, failed = 0;

  explicit Server(int guests) {
    WorldSpec spec;
    HostSpec a, b;
    a.name = "a";
    b.name = "b";
    for (int i = 0; i < guests; ++i) {
      a.guests.push_back(small_guest(i));
      a.started.push_back(true);
    }
    spec.hosts = {a, b};
    world = World::make(clock, std::move(spec));
    world->opener = [this](const std::string& uri) { return connect(*this, uri); };
  }
  ~Server() {
    world->opener = nullptr;
    clock.settle();
    CHECK(over == served);
  }

  std::unique_ptr<Stream> accept(rpc::ServeOptions options = {}) {
    PipeEnds ends = make_pipe(io.get_executor());
    ++served;
    options.drain = &drain;
    Opener open = [this](const std::string& name) { return local(*world, name); };
    asio::co_spawn(io, serve_client(std::move(ends.b), clock, std::move(open), options),
                   [this](const std::exception_ptr& e, const Result<>& ended) {
                     ++over;
                     if (e || !ended) ++failed;
                   });
    return std::move(ends.a);
  }
  static Task<std::unique_ptr<Host>> local(World& world, std::string name) {
    co_return world.connect(name.ends_with("/b") ? "b" : "a");
  }
  static Task<std::unique_ptr<Host>> connect(Server& self, std::string uri) {
    RemoteOptions options;
    options.name = uri.ends_with("/b") ? "test:///b" : "test:///a";
    auto opening = open_remote(self.accept(), self.clock, std::move(options));
    std::unique_ptr<Host> host = co_await std::move(opening);
    co_return host;
  }
  const sim::Guest* guest(const char* host, const Uuid& uuid) {
    const auto& guests = world->host(host)->guests;
    const auto at = guests.find(uuid);
    return at == guests.end() ? nullptr : at->second.get();
  }
};

Task<bool> managed(Server& s, int number) {
  auto a = co_await Server::connect(s, "test+unix:///a");
  auto b = co_await Server::connect(s, "test+unix:///b");
  const std::string name = fmt::format("vm{}", number);
  const DomainRef vm = co_await a->find(name);
  PhaseCall call{Protocol::v3_params, vm, {}, FlagSet{Flag::live, Flag::change_protection}};
  const Begun begun = co_await a->begin(call);
  PhaseCall far = call;
  far.flags.remove(Flag::change_protection);
  far.params.set("destination_xml", begun.xml);
  far.params.set("destination_name", name);
  const Prepared prepared = co_await b->prepare(far, begun.cookie);
  call.params.set("migrate_uri", *prepared.uri);
  const Cookie performed = co_await a->perform(call, prepared.cookie, std::nullopt);
  const Finished finished = co_await b->finish(far, performed, Verdict::completed);
  co_await a->confirm(call, finished.cookie, Verdict::completed);
  co_return true;
}

Task<bool> by_source(Server& s, int number, bool tunnelled) {
  auto a = co_await Server::connect(s, "test+unix:///a");
  const std::string name = fmt::format("vm{}", number);
  const DomainRef vm = co_await a->find(name);
  PhaseCall call{Protocol::v3_params, vm, {}, FlagSet{Flag::live, Flag::peer2peer}};
  if (tunnelled) call.flags.add(Flag::tunnelled);
  const Cookie none;
  co_await a->perform(call, none, "test+unix:///b");
  co_return true;
}

TEST_CASE("server: 500 migrations at once through one server, both ends on it") {
  constexpr int kGuests = 500;
  Server s(kGuests);
  std::vector<std::shared_ptr<Later<bool>>> all;
  for (int i = 0; i < kGuests; ++i)
    all.push_back(begin(s.io, i % 3 == 0 ? managed(s, i) : by_source(s, i, i % 3 == 1)));
  const auto waiting = [&] {
    return std::ranges::count_if(all, [](const auto& one) { return !one->result; });
  };
  s.clock.settle();
  CHECK(waiting() == kGuests);  // all of them are under way
  for (int second = 0; second < 600 && waiting() > 0; ++second) s.clock.pass(1s);
  CHECK(waiting() == 0);
  for (const auto& one : all) {
    if (one->failed()) MESSAGE(one->result->error().message);
    CHECK(one->ok());
  }
  CHECK(s.world->host("b")->guests.size() == kGuests);
  for (const auto& [uuid, guest] : s.world->host("b")->guests) {
    CHECK(guest->status.runs());
    CHECK(s.world->executing(uuid) == 1);
    CHECK(s.world->memory_exact("b", uuid));
  }
  CHECK(s.world->listening() == 0);
  CHECK(s.failed == 0);
}

// -- drain ----------------------------------------------------------------------------------------

TEST_CASE("server: drained, it leaves idle clients at once and a migration after its end") {
  Server s(2);
  auto idle = s.clock.run(Server::connect(s, "test+unix:///a"));
  const auto move = begin(s.io, managed(s, 0));
  s.clock.pass(20ms);
  REQUIRE_FALSE(move->result);
  s.drain.request("SIGTERM");
  s.clock.settle();
  CHECK(s.over == 1);
  CHECK(idle->lost());
  s.clock.pass(60s);
  REQUIRE(move->ok());
  CHECK(s.over == s.served);
  const auto& there = s.world->host("b")->guests;
  REQUIRE(there.size() == 1);
  CHECK(there.begin()->second->status.runs());
}

TEST_CASE("server: drained, a client between two phases may go on with them") {
  Server s(1);
  auto a = s.clock.run(Server::connect(s, "test+unix:///a"));
  auto b = s.clock.run(Server::connect(s, "test+unix:///b"));
  const DomainRef vm = s.clock.run(a->find("vm0"));
  PhaseCall call{Protocol::v3_params, vm, {}, FlagSet{Flag::live, Flag::change_protection}};
  const Begun begun = s.clock.run(a->begin(call));
  PhaseCall far{Protocol::v3_params, vm, {}, FlagSet{Flag::live}};
  far.params.set("destination_xml", begun.xml);
  far.params.set("destination_name", std::string("vm0"));
  const Prepared prepared = s.clock.run(b->prepare(far, begun.cookie));
  s.drain.request("SIGTERM");
  s.clock.pass(1s);
  CHECK_FALSE(a->lost());
  CHECK_FALSE(b->lost());
  call.params.set("migrate_uri", *prepared.uri);
  const Cookie performed = s.clock.run(a->perform(call, prepared.cookie, std::nullopt));
  const Finished finished = s.clock.run(b->finish(far, performed, Verdict::completed));
  s.clock.run(a->confirm(call, finished.cookie, Verdict::completed));
  s.clock.pass(1s);
  CHECK_FALSE(s.clock.run(a->status(vm)).runs());  // there is time to look once more
  s.clock.pass(3s);
  CHECK(a->lost());
  CHECK(b->lost());
  CHECK(s.over == 2);
  CHECK(s.world->memory_exact("b", vm.uuid));
}

// -- clients that behave badly --------------------------------------------------------------------

void check_still_served(Server& s) {
  auto client = s.clock.run(Server::connect(s, "test+unix:///a"));
  CHECK(s.clock.run(client->list(true, true)).size() == s.world->host("a")->guests.size());
}

TEST_CASE("server: a client that says nothing is left, one that has called may stay") {
  Server s(1);
  auto quiet = s.accept();
  auto client = s.clock.run(Server::connect(s, "test+unix:///a"));
  s.clock.pass(31s);
  CHECK(s.over == 1);
  CHECK(s.failed == 1);
  CHECK_FALSE(client->lost());
  check_still_served(s);
}

Task<bool> flood(Stream& to, const Bytes& first, const Bytes& more) {
  co_await to.write_all(first);
  for (int i = 0; i < 200'000; ++i) co_await to.write_all(more);
  co_return true;
}

TEST_CASE("server: a client that never reads its answers is left, others are served meanwhile") {
  Server s(50);
  auto greedy = s.accept({.memory_max = 1 << 20});
  rpc::Header open{.procedure = proto::ConnectOpen::number, .serial = 1};
  rpc::Header list{.procedure = proto::ConnectListAllDomains::number, .serial = 2};
  const Bytes opening =
      value_or_throw(rpc::pack(open, value_or_throw(xdr::encode(proto::OpenArgs{}))));
  const Bytes asking =
      value_or_throw(rpc::pack(list, value_or_throw(xdr::encode(proto::ListArgs{}))));
  const auto flooding = begin(s.io, flood(*greedy, opening, asking));
  s.clock.pass(1s);
  check_still_served(s);
  s.clock.pass(60s);
  check_still_served(s);
  // Either it is cut off for what it does not read, or nothing more of it is read: its requests
  // pile up on its own side.
  CHECK((s.over >= 1 || !flooding->result));
}

TEST_CASE("server: half a packet, a byte now and then, holds nobody up") {
  Server s(1);
  auto slow = s.accept();
  const Bytes start{std::byte{0}, std::byte{1}};
  s.clock.run(slow->write_all(start));
  check_still_served(s);
  s.clock.pass(31s);  // no whole call within the time for the first one
  CHECK(s.failed == 1);
}

TEST_CASE("server: many callbacks of one client are refused, others get theirs") {
  Server s(1);
  auto greedy = s.clock.run(Server::connect(s, "test+unix:///a"));
  const DomainRef vm = s.clock.run(greedy->find("vm0"));
  std::vector<std::unique_ptr<Subscription>> held;
  bool refused = false;
  for (int i = 0; i < 300 && !refused; ++i) {
    auto one = s.clock.run(settle(greedy->subscribe(vm, [](const DomainEvent&) {})));
    if (one)
      held.push_back(*std::move(one));
    else
      refused = true;
  }
  auto other = s.clock.run(Server::connect(s, "test+unix:///a"));
  int seen = 0;
  const auto mine = s.clock.run(other->subscribe(vm, [&](const DomainEvent&) { ++seen; }));
  s.clock.run(other->suspend(vm));
  s.clock.settle();
  CHECK(seen > 0);
  CHECK(refused);
  held.clear();
}

}  // namespace
}  // namespace vmferry::serve
