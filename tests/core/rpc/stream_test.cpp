// Streams from a client to the server, through both of our ends, and packet by packet.
#include <doctest/doctest.h>

#include "core/proto/migrate.hpp"
#include "core/rpc/client.hpp"
#include "core/rpc/serve.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::rpc {
namespace {

using namespace std::chrono_literals;
using namespace proto;

// What the server's procedure opened, and what became of it.
struct Arrived {
  Bytes bytes;
  bool finished = false, closed = false;
  std::size_t fails_after = SIZE_MAX;
  bool held = false;  // it takes nothing for now
  std::shared_ptr<Signal> changed;
};

class Bucket final : public Stream {
 public:
  explicit Bucket(Arrived& into) : into_(into) {}
  ~Bucket() override { Bucket::close(); }
  Task<std::size_t> read_some(std::span<std::byte>) override { co_return 0; }
  Task<> write_all(std::span<const std::byte> from) override {
    while (into_.held && !into_.closed) co_await into_.changed->wait();
    if (into_.bytes.size() + from.size() > into_.fails_after)
      throw Error(ErrorId::remote, "the bucket is full");
    into_.bytes.insert(into_.bytes.end(), from.begin(), from.end());
  }
  Task<> finish_writing() override {
    into_.finished = true;
    co_return;
  }
  void close() noexcept override {
    into_.closed = true;
    into_.changed->notify();
  }

 private:
  Arrived& into_;
};

class Buckets final : public Service {
 public:
  explicit Buckets(Arrived& arrived) : arrived_(arrived) {}
  Task<Bytes> call(std::int32_t procedure, Bytes payload, Opened& opened) override {
    using All = Procedures<MigratePrepareTunnel, ConnectGetHostname>;
    return All::dispatch(*this, procedure, std::move(payload), opened);
  }
  Task<Void> on(MigratePrepareTunnel, PrepareTunnelArgs, Opened& opened) {
    opened = std::make_unique<Bucket>(arrived_);
    co_return Void{};
  }
  Task<TextRet> on(ConnectGetHostname, Void) { co_return TextRet{Str("here")}; }

 private:
  Arrived& arrived_;
};

struct Ends {
  asio::io_context io{1};
  SimClock clock{io};
  Arrived arrived;
  std::unique_ptr<Stream> raw;
  std::shared_ptr<Later<Result<>>> over;

  explicit Ends(ServeOptions options = {}) {
    arrived.changed = std::make_shared<Signal>(io.get_executor());
    PipeEnds ends = make_pipe(io.get_executor());
    raw = std::move(ends.a);
    const MakeService make = [this](Peer&) { return std::make_unique<Buckets>(arrived); };
    over = begin(io, serve(std::move(ends.b), clock, make, options));
  }
  ~Ends() {
    raw.reset();
    clock.settle();
    CHECK(over->ok());
  }
};

struct Connected : Ends {
  std::unique_ptr<Client> client;
  std::unique_ptr<Stream> stream;
  explicit Connected(ServeOptions options = {}) : Ends(options) {
    client =
        std::make_unique<Client>(std::move(raw), clock, io.get_executor(), ClientOptions{0us, 0});
    stream = open();
  }
  ~Connected() {
    stream.reset();
    client.reset();
    clock.settle();
  }
  std::unique_ptr<Stream> open() {
    return std::move(clock.run(client->call_streamed<MigratePrepareTunnel>({})).stream);
  }
  std::string hostname() { return clock.run(client->call<ConnectGetHostname>({})).text.v; }
};

Bytes numbered(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 7 + i / 251);
  return out;
}

TEST_CASE("stream: everything arrives in order, and its end is confirmed") {
  Connected c;
  const Bytes data = numbered(300'001);
  c.clock.run(c.stream->write_all(data));
  c.clock.run(c.stream->finish_writing());
  CHECK(c.arrived.bytes == data);
  CHECK(c.arrived.finished);
  CHECK(c.hostname() == "here");
}

TEST_CASE("stream: what fails on the server is told to who writes, and calls go on") {
  Connected c;
  c.arrived.fails_after = 100'000;
  const Bytes data = numbered(300'000);
  const auto later = [&] {
    auto written = c.clock.run(settle(c.stream->write_all(data)));
    return written ? c.clock.run(settle(c.stream->finish_writing())) : written;
  }();
  REQUIRE_FALSE(later);
  CHECK(later.error().message == "the bucket is full");
  CHECK(c.arrived.closed);
  CHECK_FALSE(c.arrived.finished);
  CHECK(c.hostname() == "here");
}

TEST_CASE("stream: closing without an end aborts it") {
  Connected c;
  const Bytes data = numbered(1000);
  c.clock.run(c.stream->write_all(data));
  c.stream.reset();
  c.clock.settle();
  CHECK(c.arrived.closed);
  CHECK_FALSE(c.arrived.finished);
  CHECK(c.hostname() == "here");
}

TEST_CASE("stream: a client that leaves aborts it") {
  Connected c;
  c.client.reset();
  c.clock.settle();
  CHECK(c.arrived.closed);
  CHECK_FALSE(c.arrived.finished);
}

TEST_CASE("stream: a server that does not take the data slows the writer, and holds little") {
  Connected c;
  c.arrived.held = true;
  const Bytes data = numbered(std::size_t{16} << 20);
  const auto written = begin(c.io, [](Stream& to, const Bytes& what) -> Task<bool> {
    co_await to.write_all(what);
    co_return true;
  }(*c.stream, data));
  c.clock.pass(1s);
  CHECK_FALSE(written->result);
  c.arrived.held = false;
  c.arrived.changed->notify();
  c.clock.pass(1s);
  REQUIRE(written->ok());
  c.clock.run(c.stream->finish_writing());
  CHECK(c.arrived.bytes == data);
}

TEST_CASE("stream: more than are allowed are refused") {
  Connected c({.streams_max = 2});
  const auto second = c.open();
  const auto third = c.clock.run(settle([](Client& client) -> Task<bool> {
    auto opened = co_await client.call_streamed<MigratePrepareTunnel>({});
    co_return opened.stream != nullptr;
  }(*c.client)));
  CHECK_FALSE(third);
  CHECK(c.hostname() == "here");
}

// -- packet by packet -----------------------------------------------------------------------------

struct Spoken : Ends {
  Scripted peer{std::move(raw)};
  Header call;
  Spoken() {
    call.procedure = MigratePrepareTunnel::number;
    call.serial = 9;
    send(Type::call, Status::ok, value_or_throw(xdr::encode(PrepareTunnelArgs{})));
    const Packet answer = clock.run(peer.next());
    CHECK(answer.header.type == Type::reply);
    CHECK(answer.header.status == Status::ok);
  }
  ~Spoken() { peer.close(); }
  void send(Type type, Status status, Bytes payload, std::uint32_t serial = 9) {
    Header h = call;
    h.type = type;
    h.status = status;
    h.serial = serial;
    clock.run(peer.send(h, std::move(payload)));
    clock.settle();
  }
  void check_confirmed() {
    const Packet answer = clock.run(peer.next());
    CHECK(answer.header.type == Type::stream);
    CHECK(answer.header.status == Status::ok);
    CHECK(answer.header.procedure == MigratePrepareTunnel::number);
    CHECK(answer.header.serial == 9);
    CHECK(answer.payload.empty());
  }
};

TEST_CASE("stream packets: data, the end, its confirmation") {
  Spoken s;
  s.send(Type::stream, Status::proceed, Bytes(5));
  s.send(Type::stream, Status::proceed, Bytes(3));
  s.send(Type::stream, Status::ok, {});
  s.check_confirmed();
  CHECK(s.arrived.bytes.size() == 8);
  CHECK(s.arrived.finished);
}

TEST_CASE("stream packets: an abort is confirmed too") {
  Spoken s;
  s.send(Type::stream, Status::proceed, Bytes(5));
  s.send(Type::stream, Status::error, {});
  s.check_confirmed();
  CHECK(s.arrived.closed);
  CHECK_FALSE(s.arrived.finished);
}

TEST_CASE("stream packets: those of no stream, and late ones, mean nothing") {
  Spoken s;
  s.send(Type::stream, Status::proceed, Bytes(5), 77);
  s.send(Type::stream, Status::ok, {}, 77);
  s.send(Type::stream_hole, Status::proceed, Bytes(12));
  s.send(Type::stream, Status::ok, {});
  s.check_confirmed();
  s.send(Type::stream, Status::proceed, Bytes(5));
  s.send(Type::stream, Status::ok, {});
  s.call.procedure = ConnectGetHostname::number;
  s.send(Type::call, Status::ok, {}, 10);
  const Packet answer = s.clock.run(s.peer.next());
  CHECK(answer.header.type == Type::reply);
  CHECK(answer.header.serial == 10);
  CHECK(s.arrived.bytes.empty());
}

}  // namespace
}  // namespace vmferry::rpc
