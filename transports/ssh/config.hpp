#pragma once
// What OpenSSH's own configuration says of a host, as `ssh -G` prints it (ssh(1), ssh_config(5)).
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/async/clock.hpp"
#include "core/base/uri.hpp"
#include "transports/dial.hpp"

namespace vmferry {

struct SshConfig {
  std::string hostname, user, host_key_alias;
  std::uint16_t port = 22;
  std::vector<std::string> identity_files;
  std::string identity_agent;  ///< path of the agent's socket; empty: SSH_AUTH_SOCK; "none"
  std::vector<std::string> known_hosts_files;  ///< the user's, then the system's
  std::string proxy_jump, proxy_command;
  bool has_program = false;  ///< the ssh program is installed
};

/// Parses the output of `ssh -G`; unknown lines are skipped.
SshConfig parse_ssh_config(std::string_view output);

/// What is asked for in the URI goes first, then what ssh says, then OpenSSH's defaults (also when
/// ssh is not installed). "~" in paths is expanded. Errors: connect_failed when ssh runs and
/// refuses its own configuration.
Task<SshConfig> ssh_config_for(const ConnectUri& uri, Clock& clock, const DialOptions& options);

/// The program and arguments that lead to the host through a jump host or ProxyCommand; empty:
/// connect directly.
std::vector<std::string> proxy_argv(const SshConfig& config, const DialOptions& options);

}  // namespace vmferry
