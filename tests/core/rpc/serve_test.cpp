#include "core/rpc/serve.hpp"

#include <doctest/doctest.h>

#include "core/async/signal.hpp"
#include "core/proto/connect.hpp"
#include "core/proto/domain.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::rpc {
namespace {

using namespace std::chrono_literals;
using namespace proto;

struct Seen {
  int running = 0, most = 0, done = 0;
  bool destroyed = false;
  std::map<std::int32_t, bool> release;  // by id, for calls that wait
  Peer* peer = nullptr;
};

struct Running {
  explicit Running(int& n) : count(n) { ++count; }
  Running(const Running&) = delete;
  ~Running() { --count; }
  int& count;
};

// Look-ups by id wait until they are released; hostnames are answered at once.
class Waiting final : public Service {
 public:
  Waiting(Seen& seen, const Executor& ex) : seen_(seen), changed_(ex) {}
  ~Waiting() override { seen_.destroyed = true; }
  Task<Bytes> call(std::int32_t procedure, Bytes payload, Opened& opened) override {
    using All = Procedures<DomainLookupById, ConnectGetHostname, ConnectClose, ConnectGetUri>;
    return All::dispatch(*this, procedure, std::move(payload), opened);
  }
  Task<DomainRet> on(DomainLookupById, IntArgs args) {
    const Running running(seen_.running);
    seen_.most = std::max(seen_.most, seen_.running);
    while (!seen_.release[args.value]) co_await changed_.wait();
    ++seen_.done;
    co_return DomainRet{Domain{Str("vm"), WireUuid(), args.value}};
  }
  Task<TextRet> on(ConnectGetHostname, Void) { co_return TextRet{Str("here")}; }
  Task<TextRet> on(ConnectGetUri, Void) {
    throw Error(ErrorId::no_domain, "Domain not found");
    co_return TextRet{};
  }
  Task<Void> on(ConnectClose, Void) {
    seen_.peer->finish();
    co_return Void{};
  }
  void release(std::int32_t id) {
    seen_.release[id] = true;
    changed_.notify();
  }

 private:
  Seen& seen_;
  Signal changed_;
};

struct Served {
  asio::io_context io{1};
  SimClock clock{io};
  Seen seen;
  Waiting* service = nullptr;
  std::unique_ptr<Scripted> client;
  std::shared_ptr<Later<Result<>>> over;
  std::uint32_t serial = 0;

  explicit Served(ServeOptions options = {}) {
    PipeEnds ends = make_pipe(io.get_executor());
    client = std::make_unique<Scripted>(std::move(ends.a));
    const MakeService make = [this](Peer& peer) {
      auto made = std::make_unique<Waiting>(seen, io.get_executor());
      service = made.get();
      seen.peer = &peer;
      return made;
    };
    over = begin(io, serve(std::move(ends.b), clock, make, options));
    clock.settle();
  }
  ~Served() {
    client.reset();
    clock.settle();
    CHECK(seen.destroyed);
    CHECK(over->ok());
  }
  template <class A>
  void call(std::int32_t procedure, A args, std::uint32_t program = kRemoteProgram,
            std::uint32_t version = kVersion) {
    Header header;
    header.program = program;
    header.version = version;
    header.procedure = procedure;
    header.serial = ++serial;
    clock.run(client->send(header, value_or_throw(xdr::encode(args))));
    clock.settle();
  }
  Packet next() { return clock.run(client->next()); }
};

RemoteError error_of(const Packet& packet) {
  CHECK(packet.header.type == Type::reply);
  REQUIRE(packet.header.status == Status::error);
  return value_or_throw(xdr::decode<RemoteError>(packet.payload));
}

TEST_CASE("serve: five calls at the same time, more wait, answers as they end") {
  Served s;
  for (int i = 1; i <= 7; ++i) s.call(22, IntArgs{i});
  CHECK(s.seen.running == 5);
  s.service->release(3);
  const Packet third = s.next();
  CHECK(third.header.serial == 3);
  CHECK(third.header.status == Status::ok);
  CHECK(s.seen.running == 5);
  for (int i = 1; i <= 7; ++i) s.service->release(i);
  for (int i = 0; i < 6; ++i) CHECK(s.next().header.status == Status::ok);
  CHECK(s.seen.most == 5);
  CHECK(s.seen.done == 7);
}

TEST_CASE("serve: a ping is answered while all places are taken") {
  Served s;
  for (int i = 1; i <= 8; ++i) s.call(22, IntArgs{i});
  Header ping;
  ping.program = kKeepaliveProgram;
  ping.procedure = kPing;
  ping.type = Type::message;
  s.clock.run(s.client->send(ping, {}));
  CHECK(s.next().header.procedure == kPong);
}

TEST_CASE("serve: what is unknown or cannot be read is refused, and the connection lives on") {
  Served s;
  s.call(9999, Void{});
  const RemoteError unknown = error_of(s.next());
  CHECK(unknown.code == 39);
  CHECK(unknown.domain == 7);
  CHECK(unknown.message.v->v.starts_with("unknown procedure"));
  s.call(59, Void{}, 0x12345678);
  CHECK(error_of(s.next()).code == 39);
  s.call(59, Void{}, kRemoteProgram, 2);
  CHECK(error_of(s.next()).code == 39);
  s.call(22, Void{});  // no id
  CHECK(error_of(s.next()).code == 39);
  s.call(59, IntArgs{1});  // bytes after nothing
  CHECK(error_of(s.next()).code == 39);
  s.call(110, Void{});
  const RemoteError none = error_of(s.next());
  CHECK(none.code == kNoDomain);
  CHECK(none.domain == kFromRemote);
  s.call(59, Void{});
  CHECK(s.next().header.status == Status::ok);
}

TEST_CASE("serve: a packet of an impossible length ends the connection") {
  Served s;
  const std::array<std::byte, 4> bad{std::byte{0xff}, std::byte{0xff}, std::byte{}, std::byte{}};
  s.clock.run(s.client->stream().write_all(bad));
  s.clock.settle();
  REQUIRE(s.over->ok());
  CHECK_FALSE(**s.over->result);
}

TEST_CASE("serve: a client that leaves takes its calls with it") {
  Served s;
  for (int i = 1; i <= 7; ++i) s.call(22, IntArgs{i});
  s.client->close();
  s.clock.settle();
  CHECK(s.seen.running == 0);
  CHECK(s.seen.done == 0);
  CHECK(s.seen.destroyed);
  REQUIRE(s.over->ok());
  CHECK(**s.over->result);
}

TEST_CASE("serve: after its pings a silent client is dead, one that answers is not") {
  Served s;
  s.seen.peer->start_keepalive();
  s.clock.pass(29s);
  CHECK_FALSE(s.over->result);
  s.call(59, Void{});
  s.clock.pass(29s);
  CHECK_FALSE(s.over->result);
  s.clock.pass(6s);
  REQUIRE(s.over->ok());
  CHECK_FALSE(**s.over->result);
}

TEST_CASE("serve: events go out; closing answers first") {
  Served s;
  s.seen.peer->send_event(318, Bytes(4));
  const Packet event = s.next();
  CHECK(event.header.type == Type::message);
  CHECK(event.header.procedure == 318);
  s.call(2, Void{});
  CHECK(s.next().header.status == Status::ok);
  s.clock.settle();
  CHECK(s.over->ok());
}

TEST_CASE("serve: a client that does not read is not remembered without end") {
  Served s({.memory_max = 1 << 20});
  for (int i = 0; i < 60 && !s.over->result; ++i)
    s.seen.peer->send_event(318, Bytes(std::size_t{1} << 20));
  s.clock.settle();
  REQUIRE(s.over->ok());
  CHECK_FALSE(**s.over->result);
}

}  // namespace
}  // namespace vmferry::rpc
