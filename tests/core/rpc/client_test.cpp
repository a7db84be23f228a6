#include "core/rpc/client.hpp"

#include <doctest/doctest.h>

#include "core/proto/domain.hpp"
#include "core/proto/event.hpp"
#include "core/proto/job.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::rpc {
namespace {

using namespace std::chrono_literals;
using proto::ConnectGetHostname, proto::TextRet, proto::Str;

struct Pair {
  asio::io_context io{1};
  SimClock clock{io};
  std::unique_ptr<Scripted> peer;
  std::unique_ptr<Client> client;
  explicit Pair(std::size_t chunk_max = SIZE_MAX) {
    PipeEnds ends = make_pipe(io.get_executor(), chunk_max);
    peer = std::make_unique<Scripted>(std::move(ends.b));
    client = std::make_unique<Client>(std::move(ends.a), clock, io.get_executor(), ClientOptions{});
  }
  auto ask(CallOptions options = {.deadline = Micros(0)}) {
    auto later = begin(io, client->call<ConnectGetHostname>({}, options));
    clock.settle();
    return later;
  }
  ~Pair() {
    client.reset();
    peer.reset();
    clock.settle();
  }
};

TEST_CASE("client: replies find their calls in whatever order they come, however split") {
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
    Pair p(chunk);
    const auto one = p.ask(), two = p.ask();
    const Packet first = p.clock.run(p.peer->next());
    const Packet second = p.clock.run(p.peer->next());
    CHECK(first.header.serial != second.header.serial);
    p.clock.run(p.peer->answer(second, TextRet{Str("two")}));
    p.clock.run(p.peer->answer(first, TextRet{Str("one")}));
    p.clock.settle();
    REQUIRE(one->ok());
    REQUIRE(two->ok());
    CHECK((*one->result)->text.v == "one");
    CHECK((*two->result)->text.v == "two");
  }
}

TEST_CASE("client: three calls under way, one place free for an abort, the rest wait") {
  Pair p;
  const auto a = p.ask(), b = p.ask(), c = p.ask(), d = p.ask();
  std::vector<Packet> got;
  for (int i = 0; i < 3; ++i) got.push_back(p.clock.run(p.peer->next()));
  const auto fourth = begin(p.io, p.peer->next());
  p.clock.settle();
  CHECK_FALSE(fourth->result);  // d waits
  const auto urgent = p.ask({.deadline = Micros(0), .urgent = true});
  REQUIRE(fourth->ok());
  p.clock.run(p.peer->answer(**fourth->result, TextRet{Str("urgent")}));
  p.clock.settle();
  CHECK(urgent->ok());
  CHECK_FALSE(d->result);
  p.clock.run(p.peer->answer(got[0], TextRet{Str("a")}));
  const Packet last = p.clock.run(p.peer->next());
  p.clock.run(p.peer->answer(last, TextRet{Str("d")}));
  p.clock.settle();
  CHECK(a->ok());
  REQUIRE(d->ok());
  CHECK((*d->result)->text.v == "d");
  CHECK_FALSE(b->result);
  CHECK_FALSE(c->result);
}

TEST_CASE("client: an event before the answer to its registration is told") {
  Pair p;
  std::vector<std::int32_t> events;
  p.client->on_event([&](std::int32_t procedure, auto) { events.push_back(procedure); });
  const auto registered =
      begin(p.io, p.client->call<proto::EventRegister>({}, CallOptions{.deadline = Micros(0)}));
  const Packet call = p.clock.run(p.peer->next());
  Header event;
  event.procedure = proto::EventLifecycle::number;
  event.type = Type::message;
  event.serial = 1;
  p.clock.run(p.peer->send(event, {}));
  p.clock.run(p.peer->answer(call, proto::IntRet{3}));
  p.clock.settle();
  CHECK(events == std::vector<std::int32_t>{318});
  CHECK(registered->ok());
}

TEST_CASE("client: a ping is answered while a call is under way") {
  Pair p;
  const auto call = p.ask();
  p.clock.run(p.peer->next());
  Header ping;
  ping.program = proto::kKeepaliveProgram;
  ping.procedure = proto::kPing;
  ping.type = Type::message;
  p.clock.run(p.peer->send(ping, {}));
  const Packet pong = p.clock.run(p.peer->next());
  CHECK(pong.header.program == proto::kKeepaliveProgram);
  CHECK(pong.header.procedure == proto::kPong);
  CHECK(pong.header.type == Type::message);
  CHECK(pong.payload.empty());
  CHECK_FALSE(call->result);
}

TEST_CASE("client: a silent peer is dead after count + 1 intervals, and its calls may be done") {
  Pair p;
  const auto call = p.ask();
  p.client->start_keepalive();
  p.clock.settle();
  p.clock.pass(34s);
  CHECK_FALSE(p.client->dead());
  p.clock.pass(1s);
  CHECK(p.client->dead());
  REQUIRE(call->failed());
  CHECK(call->result->error().id == ErrorId::connect_lost);
  CHECK(call->result->error().reply_lost);
  const auto later = p.ask();
  REQUIRE(later->failed());
  CHECK_FALSE(later->result->error().reply_lost);
}

TEST_CASE("client: a call that is not answered in time may have been carried out") {
  Pair p;
  const auto call = p.ask({.deadline = 5s});
  p.clock.pass(5s);
  p.clock.settle();
  REQUIRE(call->failed());
  CHECK(call->result->error().id == ErrorId::timed_out);
  CHECK(call->result->error().reply_lost);
  CHECK_FALSE(p.client->dead());
}

TEST_CASE("client: cut at any byte of the reply, the answer is lost; whole, it is there") {
  Bytes whole;
  {
    Pair p;
    Header header;
    header.procedure = ConnectGetHostname::number;
    header.type = Type::reply;
    header.serial = 1;
    whole = value_or_throw(pack(header, value_or_throw(xdr::encode(TextRet{Str("host")}))));
  }
  for (std::size_t n = 0; n <= whole.size(); ++n) {
    Pair p;
    const auto call = p.ask();
    const Packet request = p.clock.run(p.peer->next());
    REQUIRE(request.header.serial == 1);
    p.clock.run(p.peer->stream().write_all(std::span(whole).first(n)));
    p.clock.run(p.peer->stream().finish_writing());
    p.clock.settle();
    REQUIRE(call->result);
    if (n == whole.size()) {
      CHECK(call->ok());
    } else {
      REQUIRE(call->failed());
      CHECK(call->result->error().id == ErrorId::connect_lost);
      CHECK(call->result->error().reply_lost);
    }
  }
}

TEST_CASE("client: another service is recognised by its first bytes") {
  const std::pair<std::string_view, std::string_view> services[] = {
      {"SSH-2.0-OpenSSH_9.2p1\r\n", "ssh"},
      {"HTTP/1.1 400 Bad Request\r\n", "web"},
      {std::string_view("\x15\x03\x03\x00\x02\x02\x46", 7), "TLS"},
      {"hello there", "not libvirt"}};
  for (const auto& [bytes, word] : services) {
    Pair p;
    const auto call = p.ask();
    p.clock.run(p.peer->stream().write_all(std::as_bytes(std::span(bytes))));
    p.clock.settle();
    REQUIRE(call->failed());
    CHECK(call->result->error().id == ErrorId::connect_protocol);
    CHECK(call->result->error().message.find(word) != std::string::npos);
  }
}

TEST_CASE(
    "client: libvirt's codes are kept, and an old daemon's \"unknown procedure\" understood") {
  Pair p;
  const auto call = p.ask();
  const Packet request = p.clock.run(p.peer->next());
  proto::RemoteError error;
  error.code = proto::kRpc;
  error.domain = proto::kFromRpc;
  error.message = proto::MaybeStr(Str("unknown procedure: 59"));
  p.clock.run(p.peer->refuse(request, error));
  p.clock.settle();
  REQUIRE(call->failed());
  CHECK(call->result->error().id == ErrorId::unsupported);
  CHECK(call->result->error().wire.code == proto::kNoSupport);
  CHECK_FALSE(call->result->error().reply_lost);
}

}  // namespace
}  // namespace vmferry::rpc
