// Everything that a client can send to our server, over a host that does nothing. Two guards: it
// must end when the client leaves, and nothing may be left behind.
#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <cstdint>
#include <cstdlib>

#include "core/async/sim_clock.hpp"
#include "core/serve/host_service.hpp"
#include "tests/support/null_host.hpp"

using namespace vmferry;

static Task<std::unique_ptr<Host>> open_null(const std::string&) {
  co_return std::make_unique<NullHost>();
}

static Task<> drink(Stream& stream) {
  std::vector<std::byte> buffer(4096);
  for (;;) {
    const std::size_t n = co_await stream.read_some(buffer);
    if (n == 0) co_return;
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  asio::io_context io{1};
  SimClock clock(io);
  PipeEnds ends = make_pipe(io.get_executor());
  bool over = false;
  asio::co_spawn(io, serve::serve_client(std::move(ends.b), clock, open_null),
                 [&](const std::exception_ptr& e, const Result<>&) {
                   if (e) std::abort();
                   over = true;
                 });
  asio::co_spawn(io, drink(*ends.a), [](const std::exception_ptr&) {});
  // CONNECT_OPEN first, so that what follows meets a host.
  const rpc::Header open{.procedure = proto::ConnectOpen::number};
  const Bytes opening =
      value_or_throw(rpc::pack(open, value_or_throw(xdr::encode(proto::OpenArgs{}))));
  const auto input = std::as_bytes(std::span(data, size));
  const auto send = [&](std::span<const std::byte> bytes) {
    asio::co_spawn(io, ends.a->write_all(bytes), [](const std::exception_ptr&) {});
    clock.settle();
  };
  send(opening);
  // In pieces, so that a stream's packets can come after the call that opened it was answered.
  const std::size_t piece = size > 0 ? std::size_t{data[0]} + 1 : 1;
  for (std::size_t at = 0; at < input.size(); at += piece)
    send(input.subspan(at, std::min(piece, input.size() - at)));
  ends.a->close();
  clock.settle();
  if (!over) std::abort();
  return 0;
}
