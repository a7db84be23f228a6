#pragma once
#include <cstdint>

#include "core/base/uri.hpp"
#include "transports/dial.hpp"
#include "transports/ssh/config.hpp"
#include "transports/ssh/session.hpp"

namespace vmferry {

/// How a login ended that did not throw.
enum class SshLogin : std::uint8_t {
  in,
  /// An RSA key was refused, which this libssh2 can use as SHA-1 only: the ssh program may get in
  /// with it. (Nobody was asked for a password.)
  try_program,
};

/// Logs in: agent, key files, password, keyboard-interactive, or those of sshauth= in its order.
/// What must be asked is asked through options.prompter, unless no_tty=1. Errors: auth_needed with
/// every method that was tried and how it ended; connect_lost, connect_timeout.
Task<SshLogin> ssh_login(SshSession& session, const ConnectUri& uri, const SshConfig& config,
                         Clock& clock, const DialOptions& options);

}  // namespace vmferry
