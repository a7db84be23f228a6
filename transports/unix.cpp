#include "transports/unix.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"
#include "transports/local_endpoint.hpp"
#include "transports/socket_stream.hpp"

namespace vmferry {

asio::local::stream_protocol::endpoint local_endpoint(const std::string& path) {
  std::string native = path;
  if (native.starts_with('@')) native[0] = '\0';
  // sockaddr_un has 108 bytes, the last of which ends the name.
  if (native.empty() || native.size() > 107)
    throw Error(ErrorId::uri_invalid, fmt::format("\"{}\" cannot be the path of a unix socket: it "
                                                  "has {} bytes, and 1 to 107 fit",
                                                  escaped(path, 256), native.size()));
  return {native};
}

namespace {

Error refused(const std::string& path, const asio::error_code& failure) {
  Error error(ErrorId::connect_failed,
              fmt::format("cannot connect to the socket {}: {}", escaped(path), failure.message()));
  if (failure == asio::error::access_denied)
    return std::move(error).advise(
        "Run it as root, or as a member of the socket's group (libvirt).");
  if (failure == asio::error::connection_refused)
    return std::move(error).advise("The daemon that made this socket does not run; start it.");
  return error;
}

}  // namespace

Task<std::unique_ptr<Stream>> connect_unix(Clock& clock, std::string path, Micros limit) {
  using Socket = asio::local::stream_protocol::socket;
  const auto ex = co_await asio::this_coro::executor;
  const auto endpoint = local_endpoint(path);
  const Micros end = clock.now() + limit;
  for (;;) {
    Socket socket(ex);
    asio::error_code failure;
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, failure));
    if (!failure) co_return socket_stream(std::move(socket), path);
    if (failure == asio::error::operation_aborted) throw std::system_error(failure);
    if (failure != asio::error::would_block) throw refused(path, failure);
    if (clock.now() >= end)
      throw Error(ErrorId::connect_timeout,
                  fmt::format("the daemon behind {} accepts no connections", escaped(path)));
    co_await clock.sleep(Millis(20));
  }
}

}  // namespace vmferry
