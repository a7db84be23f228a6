// The two ends of a tunnelled stream, without a hypervisor behind them, for serve_bench.py:
//   stream_bench serve SOCKET       our server, whose one procedure opens a stream to nowhere
//   stream_bench send SOCKET MIB    our client: sends that much, waits for the confirmation
//   stream_bench plain SOCKET MIB   the same bytes into a plain socket
// send and plain print bytes per second.
#include <fmt/format.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <cstdlib>

#include "core/proto/migrate.hpp"
#include "core/rpc/client.hpp"
#include "core/rpc/serve.hpp"
#include "transports/listen.hpp"
#include "transports/unix.hpp"

using namespace vmferry;

namespace {

constexpr std::size_t kPiece = 65536;

class Nowhere final : public Stream {
 public:
  Task<std::size_t> read_some(std::span<std::byte>) override { co_return 0; }
  Task<> write_all(std::span<const std::byte>) override { co_return; }
  Task<> finish_writing() override { co_return; }
  void close() noexcept override {}
};

class Sinks final : public rpc::Service {
 public:
  Task<Bytes> call(std::int32_t procedure, Bytes payload, rpc::Opened& opened) override {
    using All = rpc::Procedures<proto::MigratePrepareTunnel>;
    return All::dispatch(*this, procedure, std::move(payload), opened);
  }
  Task<proto::Void> on(proto::MigratePrepareTunnel, proto::PrepareTunnelArgs, rpc::Opened& opened) {
    opened = std::make_unique<Nowhere>();
    co_return proto::Void{};
  }
};

std::unique_ptr<rpc::Service> make_sinks(rpc::Peer&) { return std::make_unique<Sinks>(); }

Task<> serve(Clock& clock, std::string path) {
  const auto ex = co_await asio::this_coro::executor;
  const auto listener = listen_unix(ex, path);
  for (;;) {
    Accepted accepted = co_await listener->accept();
    const rpc::MakeService make = make_sinks;
    Task<Result<>> serving = rpc::serve(std::move(accepted.stream), clock, make);
    (void)co_await std::move(serving);
  }
}

Task<> pour(Stream& stream, std::size_t mib) {
  const Bytes piece(kPiece, std::byte{0x5a});
  for (std::size_t left = (mib << 20) / kPiece; left > 0; --left) co_await stream.write_all(piece);
  co_await stream.finish_writing();
}

Task<> send(Clock& clock, std::string path, std::size_t mib) {
  const auto ex = co_await asio::this_coro::executor;
  std::unique_ptr<Stream> stream = co_await connect_unix(clock, path);
  rpc::Client client(std::move(stream), clock, ex, {});
  auto opened = co_await client.call_streamed<proto::MigratePrepareTunnel>({});
  co_await pour(*opened.stream, mib);
}

Task<> plain(Clock& clock, std::string path, std::size_t mib) {
  std::unique_ptr<Stream> stream = co_await connect_unix(clock, path);
  co_await pour(*stream, mib);
  Bytes end(1);
  (void)co_await stream->read_some(end);  // the relay closes when it has passed on everything
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string what = argv[1], path = argv[2];
  const std::size_t mib = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 256;
  SystemClock clock;
  asio::io_context io(1);
  int status = 1;
  Task<> work = what == "serve"  ? serve(clock, path)
                : what == "send" ? send(clock, path, mib)
                                 : plain(clock, path, mib);
  const Micros begin = clock.now();
  asio::co_spawn(io, std::move(work), [&](const std::exception_ptr& e) {
    status = e ? 1 : 0;
    io.stop();
  });
  io.run();
  const double seconds = static_cast<double>((clock.now() - begin).count()) / 1e6;
  fmt::print("{:.0f}\n", static_cast<double>(mib << 20) / seconds);
  return status;
}
