#include "transports/dial.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "transports/command.hpp"
#include "transports/daemons.hpp"
#include "transports/ssh/dial_ssh.hpp"
#include "transports/tcp.hpp"
#include "transports/unix.hpp"

namespace vmferry {
namespace {

constexpr std::uint16_t kTcpPort = 16509;  // IANA: libvirt

std::string session_dir(const Environment& env) {
  if (const auto runtime = env("XDG_RUNTIME_DIR")) return *runtime + "/libvirt";
  if (const auto cache = env("XDG_CACHE_HOME")) return *cache + "/libvirt";
  return env("HOME").value_or("") + "/.cache/libvirt";
}

bool for_session(const ConnectUri& uri, const DialOptions& options) {
  return uri.session() && !options.root;
}

Task<Result<std::unique_ptr<Stream>>> try_sockets(const std::vector<std::string>& sockets,
                                                  Clock& clock, Micros limit) {
  std::optional<Error> first;
  for (const std::string& path : sockets) {
    auto attempt = co_await settle(connect_unix(clock, path, limit));
    if (attempt) co_return attempt;
    if (attempt.error().id == ErrorId::cancelled) throw std::move(attempt).error();
    if (first)
      first->note(attempt.error().message);
    else
      first = std::move(attempt).error();
  }
  co_return std::unexpected(*std::move(first));
}

// A program that sends nothing until it ends: what it said, and how it ended.
Task<std::string> end_of(Stream& program) {
  std::array<std::byte, 512> ignored;
  const auto read = co_await settle(program.read_some(ignored));
  co_return read ? program.explain_end() : read.error().message;
}

// As libvirt's own client does: a user's session daemon is started when it is needed, and ends by
// itself two minutes after its last client left. Two clients may start two; one of them gives up.
Task<std::unique_ptr<Stream>> start_session(const std::vector<std::string>& sockets,
                                            const std::string& daemon, Clock& clock,
                                            const DialOptions& options) {
  const auto ex = co_await asio::this_coro::executor;
  auto program = run_command(ex, clock, {daemon, "--daemon", "--timeout=120"});
  const std::string said =
      co_await with_deadline(clock, options.timeout, "the start of " + daemon, end_of(*program));
  const Micros give_up = clock.now() + Millis(10000);
  for (;;) {
    auto attempt = co_await try_sockets(sockets, clock, options.timeout);
    if (attempt) co_return *std::move(attempt);
    if (clock.now() >= give_up) {
      Error error = std::move(attempt).error();
      throw error.note(fmt::format("{} was started and said: {}", daemon, said));
    }
    co_await clock.sleep(Millis(50));
  }
}

Task<std::unique_ptr<Stream>> dial_unix(const ConnectUri& uri, Clock& clock,
                                        const DialOptions& options) {
  const std::vector<std::string> sockets = daemon_sockets(uri, options);
  auto connected = co_await try_sockets(sockets, clock, options.timeout);
  if (connected) co_return *std::move(connected);
  if (for_session(uri, options) && !uri.socket) {
    const auto daemon = session_daemon(uri, options.env);
    if (daemon) co_return co_await start_session(sockets, *daemon, clock, options);
  }
  Error error = std::move(connected).error();
  if (error.remedy.empty()) error.remedy = daemon_remedy(uri.driver, for_session(uri, options));
  throw error;
}

Error no_tls(const ConnectUri& uri) {
  std::string ssh = uri.driver + "+ssh://";
  if (!uri.uri.user.empty()) ssh += uri.uri.user + "@";
  ssh += host_port(uri.uri.host, 0) + (uri.uri.path.empty() ? "/" : uri.uri.path);
  const std::string why = uri.transport == Transport::none
                              ? " (a host without a transport means TLS, as in libvirt)"
                              : "";
  return Error(ErrorId::unsupported,
               fmt::format("{} asks for TLS{}, which this program does not speak", uri.to_string(),
                           why))
      .advise(fmt::format("Use ssh: {}", ssh));
}

Error no_sasl(const ConnectUri& uri) {
  return {ErrorId::unsupported,
          fmt::format("{} asks for the authentication \"{}\", which this program does not speak",
                      uri.to_string(), escaped(*uri.auth, 64))};
}

}  // namespace

DialOptions::DialOptions() : root(::geteuid() == 0) {}

std::vector<std::string> daemon_sockets(const ConnectUri& uri, const DialOptions& options) {
  if (uri.socket) return {*uri.socket};
  const bool session = for_session(uri, options);
  const std::string dir = session ? session_dir(options.env) : options.runtime_dir;
  const std::string suffix = options.read_only && !session ? "-sock-ro" : "-sock";
  const std::string legacy = fmt::format("{}/libvirt{}", dir, suffix);
  const auto daemon = daemon_name(uri.driver);
  if (uri.mode == DaemonMode::legacy || !daemon) return {legacy};
  const std::string direct = fmt::format("{}/{}{}", dir, *daemon, suffix);
  if (uri.mode == DaemonMode::direct) return {direct};
  // As libvirt: the driver's own daemon if its socket is there. A socket that nobody listens on is
  // left behind by systemd units that were disabled; then libvirtd may still answer.
  std::error_code unknown;
  if (!std::filesystem::exists(direct, unknown)) return {legacy, direct};
  return {direct, legacy};
}

Task<std::unique_ptr<Stream>> dial(const ConnectUri& uri, Clock& clock,
                                   const DialOptions& options) {
  if (uri.over_tls()) throw no_tls(uri);
  if (uri.auth && *uri.auth != "none" && !uri.auth->starts_with("polkit")) throw no_sasl(uri);
  switch (uri.transport) {
    case Transport::none:
    case Transport::unix_:
      co_return co_await dial_unix(uri, clock, options);
    case Transport::tcp: {
      const std::uint16_t port = uri.uri.port == 0 ? kTcpPort : uri.uri.port;
      const TcpOptions limits{.per_address = options.timeout};
      const std::string host = uri.host();
      co_return co_await connect_tcp(clock, host, port, limits);
    }
    case Transport::ext: {
      const auto ex = co_await asio::this_coro::executor;
      const std::vector<std::string> argv{*uri.command};
      co_return run_command(ex, clock, argv);
    }
    case Transport::ssh:
    case Transport::libssh:
    case Transport::libssh2:
      co_return co_await dial_ssh(uri, clock, options);
    case Transport::tls:
      break;
  }
  throw no_tls(uri);
}

}  // namespace vmferry
