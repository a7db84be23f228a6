#include "cli/data_network.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "transports/listen.hpp"
#include "transports/tcp.hpp"
#include "transports/unix.hpp"

namespace vmferry::cli {

namespace {

constexpr std::uint16_t kFirstPort = 49152, kLastPort = 49215;

class SocketListener final : public sim::DataListener {
 public:
  SocketListener(std::unique_ptr<Listener> listener, std::string uri)
      : listener_(std::move(listener)), uri_(std::move(uri)) {}
  ~SocketListener() override { SocketListener::close(); }
  Task<std::unique_ptr<Stream>> accept() override {
    Accepted accepted = co_await listener_->accept();
    co_return std::move(accepted.stream);
  }
  std::string uri() const override { return uri_; }
  void close() noexcept override { listener_->close(); }

 private:
  std::unique_ptr<Listener> listener_;
  std::string uri_;
};

// "client-address client-port server-address server-port"
std::string reached_by_ssh(const Environment& environment) {
  const std::string said = environment("SSH_CONNECTION").value_or("");
  const auto words = split(said, ' ');
  return words.size() == 4 ? std::string(words[2]) : std::string();
}

Error no_scheme(const std::string& scheme) {
  return Error(
      ErrorId::unsupported,
      fmt::format("simulated hosts of two processes move data by tcp or unix, not by \"{}\"",
                  escaped(scheme, 64)));
}

class Sockets final : public sim::DataNetwork {
 public:
  Sockets(Clock& clock, std::string host) : clock_(clock), host_(std::move(host)) {}

  Task<std::unique_ptr<sim::DataListener>> listen(sim::DataAddress address) override {
    if (address.scheme == "unix") {
      const auto ex = co_await asio::this_coro::executor;
      auto listener = listen_unix(ex, address.host);
      co_return std::make_unique<SocketListener>(std::move(listener), "unix://" + address.host);
    }
    if (address.scheme != "tcp") throw no_scheme(address.scheme);
    const std::string host = address.host.empty() ? host_ : address.host;
    Task<std::unique_ptr<Listener>> listening =
        address.port != 0 ? listen_tcp(host, address.port) : any_port(host, next_port_);
    std::unique_ptr<Listener> listener = co_await std::move(listening);
    const std::string at = listener->address();
    const auto port = parse_number<std::uint16_t>(at.substr(at.rfind(':') + 1)).value_or(0);
    co_return std::make_unique<SocketListener>(std::move(listener),
                                               "tcp://" + host_port(host, port));
  }

  Task<std::unique_ptr<Stream>> dial(std::string text) override {
    const Uri uri = value_or_throw(parse_uri(text));
    if (uri.scheme != "tcp" && uri.scheme != "unix") throw no_scheme(uri.scheme);
    Task<std::unique_ptr<Stream>> connecting = uri.scheme == "unix"
                                                   ? connect_unix(clock_, uri.path)
                                                   : connect_tcp(clock_, uri.host, uri.port);
    co_return co_await std::move(connecting);
  }

 private:
  // The next one each time, so that a port which was just closed is not taken for a new one.
  static Task<std::unique_ptr<Listener>> any_port(std::string host, std::uint16_t& next) {
    std::optional<Error> last;
    for (int tries = kFirstPort; tries <= kLastPort; ++tries) {
      const std::uint16_t port = next;
      next = port == kLastPort ? kFirstPort : static_cast<std::uint16_t>(port + 1);
      Task<std::unique_ptr<Listener>> listening = listen_tcp(host, port);
      auto listener = co_await settle(std::move(listening));
      if (listener) co_return *std::move(listener);
      if (listener.error().id != ErrorId::io) throw std::move(listener).error();
      last = std::move(listener).error();
    }
    throw Error(ErrorId::ports_used, fmt::format("no port from {} to {} is free: {}", kFirstPort,
                                                 kLastPort, last->message));
  }

  Clock& clock_;
  std::string host_;
  std::uint16_t next_port_ = kFirstPort;
};

}  // namespace

std::shared_ptr<sim::DataNetwork> data_network(Clock& clock, const Environment& environment) {
  std::string host = reached_by_ssh(environment);
  if (host.empty()) host = "127.0.0.1";
  return std::make_shared<Sockets>(clock, std::move(host));
}

}  // namespace vmferry::cli
