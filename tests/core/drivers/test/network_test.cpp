// Two worlds as in two processes: only connections of a data network lead from one to the other.
#include <doctest/doctest.h>

#include "core/drivers/test/reception.hpp"
#include "tests/core/drivers/test/world.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::sim {
namespace {

using namespace std::chrono_literals;
using rpc::begin;

// Listeners and connections in memory, as both processes see them.
struct Wires {
  explicit Wires(const Executor& e) : ex(e), changed(e) {}
  Executor ex;
  Signal changed;
  std::map<std::string, std::deque<std::unique_ptr<Stream>>> waiting;  // by URI, while it listens
  int next = 1;
  std::size_t chunk = SIZE_MAX;
  std::vector<std::weak_ptr<Stream>> dialled;

  std::unique_ptr<Stream> connect(const std::string& uri) {
    const auto at = waiting.find(uri);
    if (at == waiting.end()) throw Error(ErrorId::connect_failed, "connection refused");
    PipeEnds ends = make_pipe(ex, chunk);
    at->second.push_back(std::move(ends.b));
    changed.notify();
    return std::move(ends.a);
  }
};

class Ear final : public DataListener {
 public:
  Ear(std::shared_ptr<Wires> wires, std::string uri)
      : wires_(std::move(wires)), uri_(std::move(uri)) {
    wires_->waiting[uri_];
  }
  ~Ear() override { Ear::close(); }
  Task<std::unique_ptr<Stream>> accept() override {
    const auto wires = wires_;
    const std::string at = uri_;
    for (;;) {
      const auto found = wires->waiting.find(at);
      if (found == wires->waiting.end()) throw Error(ErrorId::io, "closed");
      if (!found->second.empty()) {
        auto stream = std::move(found->second.front());
        found->second.pop_front();
        co_return stream;
      }
      co_await wires->changed.wait();
    }
  }
  std::string uri() const override { return uri_; }
  void close() noexcept override {
    wires_->waiting.erase(uri_);
    wires_->changed.notify();
  }

 private:
  std::shared_ptr<Wires> wires_;
  std::string uri_;
};

class Network final : public DataNetwork {
 public:
  explicit Network(std::shared_ptr<Wires> wires) : wires_(std::move(wires)) {}
  Task<std::unique_ptr<DataListener>> listen(DataAddress address) override {
    const int port = address.port != 0 ? address.port : wires_->next++;
    const std::string host = address.host.empty() ? "wire" : address.host;
    std::string uri = fmt::format("{}://{}:{}", address.scheme, host, port);
    co_return std::make_unique<Ear>(wires_, std::move(uri));
  }
  Task<std::unique_ptr<Stream>> dial(std::string uri) override { co_return wires_->connect(uri); }

 private:
  std::shared_ptr<Wires> wires_;
};

// The guest is on host a of the first process; `b` is host b of the second one.
struct TwoProcesses : SmallWorld {
  std::shared_ptr<Wires> wires = std::make_shared<Wires>(io.get_executor());
  std::shared_ptr<World> far;
  explicit TwoProcesses(std::string xml = guest_xml("vm")) : SmallWorld(std::move(xml)) {
    WorldSpec spec;
    HostSpec host;
    host.name = "b";
    spec.hosts = {host};
    far = World::make(clock, std::move(spec));
    world->network = far->network = std::make_shared<Network>(wires);
    b = far->connect("b");
    world->opener = [this](const std::string&) { return open(*far); };
    clock.pass(200ms);  // the guest has done something
  }
  static Task<std::unique_ptr<Host>> open(World& far) { co_return far.connect("b"); }
  Guest& there() { return *far->host("b")->guests.at(vm.uuid); }
  bool arrived() { return far->host("b")->guests.contains(vm.uuid); }
  void check_moved() {
    CHECK(on("a").status == DomainStatus{DomainState::shutoff, kShutoffMigrated});
    CHECK(there().status == DomainStatus{DomainState::running, kRunningMigrated});
    CHECK(far->memory_exact("b", vm.uuid));
    CHECK(there().memory.writes() > 0);
    CHECK(wires->waiting.empty());
    CHECK(far->listening() == 0);
  }
};

TEST_CASE("test driver, two processes: a live migration, whatever the pieces") {
  for (const std::size_t chunk : {std::size_t{7}, SIZE_MAX}) {
    TwoProcesses p;
    p.wires->chunk = chunk;
    Walk walk;
    p.clock.run(walk_all(p, walk, {Flag::live}, {}));
    p.check_moved();
  }
}

TEST_CASE("test driver, two processes: compressed, and not live") {
  TwoProcesses p;
  Walk walk;
  Params params;
  params.add("compression", std::string("zlib"));
  p.clock.run(walk_all(p, walk, {Flag::compressed}, params));
  p.check_moved();
}

TEST_CASE("test driver, two processes: an address that is asked for is used") {
  TwoProcesses p;
  Walk walk;
  Params params;
  params.add("migrate_uri", std::string("tcp://somewhere:4711"));
  p.clock.run(walk_all(p, walk, {Flag::live}, params));
  CHECK(*walk.prepared.uri == "tcp://somewhere:4711");
  p.check_moved();
}

TEST_CASE("test driver, two processes: strangers at the listener do no harm") {
  TwoProcesses p;
  Walk walk;
  walk.source = {Protocol::v3_params, p.vm, {}, FlagSet{Flag::live, Flag::change_protection}};
  walk.begun = p.clock.run(p.a->begin(walk.source));
  walk.source.params.set("destination_xml", walk.begun.xml);
  walk.destination = walk.source;
  walk.destination.params.set("destination_name", p.vm.name);
  walk.prepared = p.clock.run(p.b->prepare(walk.destination, walk.begun.cookie));
  const std::string uri = *walk.prepared.uri;
  std::vector<std::unique_ptr<Stream>> strangers;
  for (int i = 0; i < 5; ++i) strangers.push_back(p.wires->connect(uri));
  const Bytes noise(1000, std::byte{'x'});
  p.clock.run(strangers[1]->write_all(noise));
  const Bytes other = data_greeting(MigrationId{});
  p.clock.run(strangers[2]->write_all(other));
  strangers[3]->close();
  walk.source.params.set("migrate_uri", uri);
  const Cookie done = p.clock.run(p.a->perform(walk.source, walk.prepared.cookie, std::nullopt));
  p.clock.run(p.b->finish(walk.destination, done, Verdict::completed));
  CHECK(p.there().status == DomainStatus{DomainState::running, kRunningMigrated});
  CHECK(p.far->memory_exact("b", p.vm.uuid));
}

// Sees a migration to some moment within its perform.
struct UnderWay {
  Walk walk;
  std::shared_ptr<rpc::Later<bool>> perform;
  UnderWay(TwoProcesses& p, FlagSet flags) {
    perform = begin(p.io, run(p, walk, flags));
    p.clock.pass(300ms);
    REQUIRE_FALSE(perform->result);
    REQUIRE(p.arrived());
  }
  static Task<bool> run(TwoProcesses& p, Walk& walk, FlagSet flags) {
    Task<> walking = walk_to_perform(p, walk, flags, {});
    co_await std::move(walking);
    co_return true;
  }
};

TEST_CASE("test driver, two processes: a destination that goes away fails the copy") {
  TwoProcesses p;
  UnderWay m(p, {Flag::live});
  p.b.reset();  // with it the incoming guest
  p.clock.pass(5s);
  REQUIRE(m.perform->failed());
  CHECK(m.perform->result->error().message.find("the migration stream broke") != std::string::npos);
  CHECK(p.on("a").status.runs());
  CHECK_FALSE(p.on("a").out);
  CHECK_FALSE(p.arrived());
  CHECK(p.wires->waiting.empty());
}

TEST_CASE("test driver, two processes: a source that goes away leaves nothing there") {
  TwoProcesses p;
  UnderWay m(p, {Flag::live});
  p.clock.run(p.a->abort_job(p.vm, false));
  p.clock.pass(5s);
  REQUIRE(m.perform->failed());
  CHECK(m.perform->result->error().id == ErrorId::cancelled);
  const auto finished = p.clock.run(
      settle(p.b->finish(m.walk.destination, m.walk.prepared.cookie, Verdict::completed)));
  CHECK_FALSE(finished);
  CHECK_FALSE(p.arrived());
  CHECK(p.on("a").status.runs());
}

TEST_CASE("test driver, two processes: post-copy") {
  TwoProcesses p(guest_xml("vm", 3000));
  UnderWay m(p, {Flag::live, Flag::postcopy});
  p.clock.run(p.a->start_postcopy(p.vm));
  p.clock.pass(5s);
  REQUIRE(m.perform->ok());
  CHECK(p.on("a").status == DomainStatus{DomainState::paused, kPausedPostcopy});
  p.clock.run(p.b->finish(m.walk.destination, m.walk.performed, Verdict::completed));
  p.clock.run(p.a->confirm(m.walk.source, {}, Verdict::completed));
  p.check_moved();
}

TEST_CASE("test driver, two processes: post-copy whose source dies leaves a paused guest") {
  TwoProcesses p(guest_xml("vm", 3000));
  UnderWay m(p, {Flag::live, Flag::postcopy});
  p.world->link().stream_bytes_per_s = 1 << 20;
  p.clock.run(p.a->start_postcopy(p.vm));
  while (!m.perform->result) p.clock.pass(10ms);
  REQUIRE(m.perform->ok());
  const auto finish =
      begin(p.io, p.b->finish(m.walk.destination, m.walk.performed, Verdict::completed));
  p.clock.pass(20ms);
  REQUIRE_FALSE(finish->result);
  CHECK(p.there().status.runs());
  p.world->kill_guest("a", p.vm.uuid);
  p.clock.pass(60s);
  REQUIRE(finish->failed());
  CHECK(p.there().status == DomainStatus{DomainState::paused, kPausedPostcopyFailed});
}

TEST_CASE("test driver, two processes: peer-to-peer, plain and tunnelled") {
  for (const bool tunnelled : {false, true}) {
    TwoProcesses p;
    PhaseCall call{Protocol::v3_params, p.vm, {}, FlagSet{Flag::live, Flag::peer2peer}};
    if (tunnelled) call.flags.add(Flag::tunnelled);
    p.clock.run(p.a->perform(call, {}, "test+unix:///b"));
    CHECK(p.there().status == DomainStatus{DomainState::running, kRunningMigrated});
    CHECK(p.far->memory_exact("b", p.vm.uuid));
    CHECK((p.wires->next == 1) == tunnelled);  // a tunnel needs no port
  }
}

TEST_CASE("test driver, two processes: a tunnel needs its own prepare") {
  TwoProcesses p;
  Walk walk;
  const auto refused = p.clock.run(settle([](TwoProcesses& w, Walk& into) -> Task<bool> {
    Task<> walking = walk_to_perform(w, into, {Flag::live, Flag::peer2peer, Flag::tunnelled}, {});
    co_await std::move(walking);
    co_return true;
  }(p, walk)));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().wire.code == 1);
  CHECK_FALSE(p.arrived());
}

TEST_CASE("test driver, two processes: what is not protected is not called protected") {
  TwoProcesses p;
  Walk walk;
  const auto refused = p.clock.run(settle([](TwoProcesses& w, Walk& into) -> Task<bool> {
    Task<> walking = walk_to_perform(w, into, {Flag::live, Flag::tls}, {});
    co_await std::move(walking);
    co_return true;
  }(p, walk)));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("no TLS") != std::string::npos);
  CHECK_FALSE(p.arrived());
}

TEST_CASE("test driver: a peer-to-peer destination is no program to run") {
  TwoProcesses p;
  const PhaseCall call{Protocol::v3_params, p.vm, {}, FlagSet{Flag::live, Flag::peer2peer}};
  const auto refused =
      p.clock.run(settle(p.a->perform(call, {}, "test+ext:///b?command=/bin/true")));
  REQUIRE_FALSE(refused);
  CHECK(p.on("a").status.runs());
}

}  // namespace
}  // namespace vmferry::sim
