#pragma once
#include "core/base/uri.hpp"
#include "transports/dial.hpp"
#include "transports/ssh/config.hpp"
#include "transports/ssh/session.hpp"

namespace vmferry {

/// Logs in: agent, key files, password, keyboard-interactive, or those of sshauth= in its order.
/// What must be asked is asked through options.prompter, unless no_tty=1. Errors: auth_needed with
/// every method that was tried and how it ended; connect_lost, connect_timeout.
Task<> ssh_login(SshSession& session, const ConnectUri& uri, const SshConfig& config, Clock& clock,
                 const DialOptions& options);

}  // namespace vmferry
