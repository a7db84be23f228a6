#pragma once
// From a connection URI to a Stream that leads to the daemon, or to `vmferry serve`.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"
#include "core/base/config.hpp"
#include "core/base/uri.hpp"
#include "transports/prompter.hpp"

namespace vmferry {

struct DialOptions {
  Prompter* prompter = nullptr;               ///< null: nothing is asked; must outlive the call
  bool read_only = false;                     ///< the daemon's -ro socket
  Micros timeout = std::chrono::seconds(30);  ///< for each step that waits for a host, not a person
  std::function<void(const std::string&)> warn = [](const std::string&) {};
  Environment env = process_environment;
  bool root;                                     ///< set from the effective uid
  std::string runtime_dir = "/var/run/libvirt";  ///< of the system's daemons
  std::string ssh_program = "ssh";  ///< asked for its configuration (ssh -G); empty: not asked
  DialOptions();
};

/// The sockets on this host where the daemon of `uri` may listen, in the order in which they are
/// to be tried (https://libvirt.org/daemons.html): socket=, else the driver's own daemon
/// (virtqemud-sock) and libvirtd's (libvirt-sock), as mode= says.
std::vector<std::string> daemon_sockets(const ConnectUri& uri, const DialOptions& options);

/// Connects. `clock` must outlive the Stream. Errors: connect_failed, connect_timeout, auth_needed,
/// uri_invalid, and unsupported for TLS; the message says what was tried, never more is assumed.
Task<std::unique_ptr<Stream>> dial(const ConnectUri& uri, Clock& clock,
                                   const DialOptions& options = {});

}  // namespace vmferry
