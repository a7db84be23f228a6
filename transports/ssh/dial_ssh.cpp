#include "transports/ssh/dial_ssh.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"
#include "transports/command.hpp"
#include "transports/ssh/channel.hpp"
#include "transports/ssh/config.hpp"
#include "transports/ssh/helper.hpp"
#include "transports/ssh/host_key.hpp"
#include "transports/ssh/login.hpp"
#include "transports/ssh/session.hpp"
#include "transports/tcp.hpp"

namespace vmferry {
namespace {

// As libvirt calls it (virNetSocketNewConnectSSH), but never asking: the program has no terminal.
std::vector<std::string> ssh_argv(const std::string& program, const ConnectUri& uri,
                                  const std::string& remote) {
  std::vector<std::string> argv{program};
  const auto add = [&](std::initializer_list<std::string> words) {
    argv.insert(argv.end(), words);
  };
  if (uri.uri.port != 0) add({"-p", std::to_string(uri.uri.port)});
  if (!uri.uri.user.empty()) add({"-l", uri.uri.user});
  if (uri.keyfile) add({"-i", *uri.keyfile});
  add({"-T", "-e", "none", "-o", "BatchMode=yes"});
  if (uri.known_hosts) add({"-o", "UserKnownHostsFile=" + *uri.known_hosts});
  const auto verify = uri.known_hosts_verify.value_or(KnownHostsVerify::normal);
  if (uri.no_verify || verify == KnownHostsVerify::ignore) {
    add({"-o", "StrictHostKeyChecking=no"});
  } else if (verify == KnownHostsVerify::automatic) {
    add({"-o", "StrictHostKeyChecking=accept-new"});
  }
  add({"--", uri.host(), remote});
  return argv;
}

Task<std::shared_ptr<SshSession>> connect(const SshConfig& config, Clock& clock,
                                          const DialOptions& options) {
  const auto ex = co_await asio::this_coro::executor;
  const std::string peer = host_port(config.hostname, config.port == 22 ? 0 : config.port);
  const std::vector<std::string> proxy = proxy_argv(config, options);
  if (proxy.empty()) {
    const TcpOptions limits{.per_address = options.timeout};
    auto socket = co_await connect_tcp_socket(clock, config.hostname, config.port, limits);
    co_return std::make_shared<SshSession>(std::move(socket), nullptr, peer);
  }
  ProgramSocket program = run_for_socket(ex, clock, proxy);
  co_return std::make_shared<SshSession>(std::move(program.socket), std::move(program.process),
                                         peer);
}

// The far end's banner and the key exchange.
Task<> shake_hands(SshSession& session, const HostKeyPolicy& policy, Clock& clock,
                   const DialOptions& options) {
  const std::string types = policy.preferred_types();
  if (libssh2_session_method_pref(session.raw(), LIBSSH2_METHOD_HOSTKEY, types.c_str()) != 0)
    throw Error(ErrorId::internal, "libssh2 knows none of the host key types: " + types);
  const auto call = [&] { return libssh2_session_handshake(session.raw(), session.descriptor()); };
  const long result = co_await session.step(clock, options.timeout, "the key exchange", call);
  if (result == 0) co_return;
  const std::string why = session.last_error();
  if (result == LIBSSH2_ERROR_BANNER_RECV)
    throw Error(ErrorId::connect_protocol,
                fmt::format("{} does not answer as an ssh server: {}", session.peer(), why))
        .note(session.lost(why).message);
  if (result == LIBSSH2_ERROR_KEX_FAILURE || result == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE)
    throw Error(ErrorId::connect_protocol,
                fmt::format("the key exchange with {} failed: {} (host key types wanted: {})",
                            session.peer(), why, types));
  throw session.lost(why);
}

HostKey key_of(const SshSession& session) {
  std::size_t size = 0;
  int kind = 0;
  const char* blob = libssh2_session_hostkey(session.raw(), &size, &kind);
  HostKey key{.blob = blob == nullptr ? std::string() : std::string(blob, size)};
  key.type = key_type(key.blob);
  if (key.type.empty())
    throw Error(ErrorId::connect_protocol, session.peer() + " shows a malformed host key");
  return key;
}

}  // namespace

Task<std::unique_ptr<Stream>> dial_ssh(const ConnectUri& uri, Clock& clock,
                                       const DialOptions& options) {
  std::string user = uri.uri.user;
  if (uri.command) {
    if (user.empty()) user = options.root ? "root" : "";
    const std::string remote = value_or_throw(remote_command(uri, user, options.read_only));
    const auto ex = co_await asio::this_coro::executor;
    co_return run_command(ex, clock, ssh_argv(*uri.command, uri, remote));
  }
  const SshConfig config = co_await ssh_config_for(uri, clock, options);
  std::string remote = value_or_throw(remote_command(uri, config.user, options.read_only));
  const HostKeyPolicy policy(uri, config);
  auto session = co_await connect(config, clock, options);
  co_await shake_hands(*session, policy, clock, options);
  policy.judge(key_of(*session), options.warn);
  const SshLogin login = co_await ssh_login(*session, uri, config, clock, options);
  if (login == SshLogin::try_program) {
    session->close();
    const auto ex = co_await asio::this_coro::executor;
    co_return run_command(ex, clock, ssh_argv(options.ssh_program, uri, remote));
  }
  const EarlyEnd early_end = [uri, peer = session->peer()](std::optional<int> status,
                                                           const std::string& said) {
    return helper_failed(uri, peer, status, said);
  };
  co_return co_await ssh_exec(session, clock, options.timeout, std::move(remote), early_end);
}

}  // namespace vmferry
