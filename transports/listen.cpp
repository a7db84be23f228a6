#include "transports/listen.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "transports/local_endpoint.hpp"
#include "transports/socket_stream.hpp"
#include "transports/tcp.hpp"

namespace vmferry {
namespace {

using Local = asio::local::stream_protocol;
using asio::ip::tcp;

[[noreturn]] void failed(const std::string& what, const asio::error_code& why) {
  throw Error(ErrorId::io, fmt::format("{}: {}", what, why.message()));
}

template <class Acceptor>
Task<typename Acceptor::protocol_type::socket> accept_from(Acceptor& acceptor,
                                                           const std::string& address) {
  asio::error_code failure;
  auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, failure));
  if (failure == asio::error::operation_aborted && acceptor.is_open())
    throw std::system_error(failure);
  if (failure) failed("cannot accept a connection on " + address, failure);
  co_return socket;
}

// Whether a socket file stands there that nobody listens on.
bool stale(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  asio::io_context io;
  Local::socket probe(io);
  asio::error_code failure;
  probe.connect(local_endpoint(path), failure);
  return failure == asio::error::connection_refused;
}

class UnixListener final : public Listener {
 public:
  UnixListener(const Executor& ex, std::string path, mode_t mode)
      : path_(std::move(path)), acceptor_(ex) {
    const auto endpoint = local_endpoint(path_);
    const bool file = !path_.starts_with('@');
    if (file && stale(path_)) ::unlink(path_.c_str());
    const std::string what = "cannot listen on " + escaped(path_);
    asio::error_code failure;
    acceptor_.open({}, failure);
    if (failure) failed(what, failure);
    const mode_t before = ::umask(0777 & ~mode);
    acceptor_.bind(endpoint, failure);
    ::umask(before);
    if (failure) failed(what, failure);
    bound_ = file;
    acceptor_.listen(asio::socket_base::max_listen_connections, failure);
    if (failure) failed(what, failure);
  }
  ~UnixListener() override { UnixListener::close(); }

  Task<Accepted> accept() override {
    Local::socket socket = co_await accept_from(acceptor_, path_);
    ucred who{};
    socklen_t size = sizeof who;
    Peer peer{.name = path_};
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
      peer = {fmt::format("uid {}, pid {}", who.uid, who.pid), who.uid, who.pid};
    Accepted out{socket_stream(std::move(socket), peer.name), peer};
    co_return out;
  }

  std::string address() const override { return path_; }

  void close() noexcept override {
    asio::error_code ignored;  // the descriptor is gone in any case
    acceptor_.close(ignored);
    if (std::exchange(bound_, false)) ::unlink(path_.c_str());
  }

 private:
  std::string path_;
  Local::acceptor acceptor_;
  bool bound_ = false;
};

class TcpListener final : public Listener {
 public:
  TcpListener(const Executor& ex, const tcp::endpoint& at) : acceptor_(ex) {
    const std::string what =
        fmt::format("cannot listen on {}", host_port(at.address().to_string(), at.port()));
    asio::error_code failure;
    acceptor_.open(at.protocol(), failure);
    if (!failure) acceptor_.set_option(tcp::acceptor::reuse_address(true), failure);
    if (!failure) acceptor_.bind(at, failure);
    if (!failure) acceptor_.listen(asio::socket_base::max_listen_connections, failure);
    if (failure) failed(what, failure);
    const tcp::endpoint real = acceptor_.local_endpoint();
    address_ = host_port(real.address().to_string(), real.port());
  }

  Task<Accepted> accept() override {
    tcp::socket socket = co_await accept_from(acceptor_, address_);
    tune(socket, TcpOptions{}.dead_after);
    asio::error_code gone;  // the peer may have left already; reading will say so
    const tcp::endpoint from = socket.remote_endpoint(gone);
    Peer peer{.name = host_port(from.address().to_string(), from.port())};
    Accepted out{socket_stream(std::move(socket), peer.name), peer};
    co_return out;
  }

  std::string address() const override { return address_; }

  void close() noexcept override {
    asio::error_code ignored;  // the descriptor is gone in any case
    acceptor_.close(ignored);
  }

 private:
  tcp::acceptor acceptor_;
  std::string address_;
};

}  // namespace

std::unique_ptr<Listener> listen_unix(const Executor& ex, const std::string& path, mode_t mode) {
  return std::make_unique<UnixListener>(ex, path, mode);
}

Task<std::unique_ptr<Listener>> listen_tcp(std::string host, std::uint16_t port) {
  const auto ex = co_await asio::this_coro::executor;
  tcp::endpoint at(tcp::v6(), port);
  if (!host.empty()) {
    tcp::resolver resolver(ex);
    asio::error_code failure;
    const auto found = co_await resolver.async_resolve(
        host, std::to_string(port), asio::redirect_error(asio::use_awaitable, failure));
    if (failure || found.empty())
      throw Error(ErrorId::connect_failed, fmt::format("cannot find the address of \"{}\": {}",
                                                       escaped(host, 256), failure.message()));
    at = found.begin()->endpoint();
  }
  co_return std::make_unique<TcpListener>(ex, at);
}

}  // namespace vmferry
