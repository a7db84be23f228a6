#include "transports/tcp.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <vector>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "transports/socket_stream.hpp"

namespace vmferry {
namespace {

using asio::ip::tcp;

void set(tcp::socket& socket, int level, int option, int value) {
  // Only a tuning: a kernel without one of them still moves bytes.
  ::setsockopt(socket.native_handle(), level, option, &value, sizeof value);
}

Task<tcp::resolver::results_type> resolve(const std::string& host, std::uint16_t port) {
  const auto ex = co_await asio::this_coro::executor;
  tcp::resolver resolver(ex);
  asio::error_code failure;
  const std::string service = std::to_string(port);
  // Runs getaddrinfo in Asio's own thread; the system's resolver has its own limit (resolv.conf),
  // and cannot be interrupted.
  auto found = co_await resolver.async_resolve(host, service, tcp::resolver::numeric_service,
                                               asio::redirect_error(asio::use_awaitable, failure));
  if (failure == asio::error::operation_aborted) throw std::system_error(failure);
  if (failure || found.empty())
    throw Error(ErrorId::connect_failed, fmt::format("cannot find the address of host \"{}\": {}",
                                                     escaped(host, 256), failure.message()))
        .advise("Check the spelling of the name, and that it resolves here: getent hosts NAME.");
  co_return found;
}

Task<bool> connect_one(tcp::socket& socket, tcp::endpoint to, asio::error_code& failure) {
  co_await socket.async_connect(to, asio::redirect_error(asio::use_awaitable, failure));
  if (failure == asio::error::operation_aborted) throw std::system_error(failure);
  co_return !failure;
}

Error nobody_there(const std::string& host, std::uint16_t port, bool silent,
                   const std::vector<std::string>& tried) {
  Error error(silent ? ErrorId::connect_timeout : ErrorId::connect_failed,
              fmt::format("cannot connect to {}: {}", host_port(host, port), joined(tried, "; ")));
  return error;
}

}  // namespace

void tune(tcp::socket& socket, Micros dead_after) {
  const auto seconds =
      static_cast<int>(std::chrono::ceil<std::chrono::seconds>(dead_after).count());
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, std::max(seconds / 4, 1));
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, std::max(seconds / 12, 1));
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 9);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000);
}

Task<tcp::socket> connect_tcp_socket(Clock& clock, std::string host, std::uint16_t port,
                                     TcpOptions options) {
  const auto ex = co_await asio::this_coro::executor;
  const auto addresses = co_await resolve(host, port);
  std::vector<std::string> tried;
  bool silent = true;
  for (const auto& address : addresses) {
    tcp::socket socket(ex);
    asio::error_code failure;
    const tcp::endpoint to = address.endpoint();
    Task<bool> attempt = connect_one(socket, to, failure);
    const auto done = co_await within(clock, options.per_address, std::move(attempt));
    if (done && *done) {
      tune(socket, options.dead_after);
      co_return socket;
    }
    if (done) silent = false;
    const std::string why = done ? failure.message() : std::string("no answer in time");
    tried.push_back(fmt::format("{}: {}", to.address().to_string(), why));
  }
  throw nobody_there(host, port, silent, tried);
}

Task<std::unique_ptr<Stream>> connect_tcp(Clock& clock, std::string host, std::uint16_t port,
                                          TcpOptions options) {
  const std::string peer = host_port(host, port);
  tcp::socket socket = co_await connect_tcp_socket(clock, host, port, options);
  co_return socket_stream(std::move(socket), peer);
}

}  // namespace vmferry
