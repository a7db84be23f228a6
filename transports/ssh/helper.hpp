#pragma once
// What is run on the other host, and what its end means.
#include <optional>
#include <string>

#include "core/base/uri.hpp"

namespace vmferry {

/// The command line for the login shell of the other host: one `sh -c` with one argument, in which
/// everything that came from the URI is quoted for the inner shell. `user` is who logs in. Like
/// virsh (https://libvirt.org/uri.html#ssh-transport): virt-ssh-helper if it is there, else nc on
/// the daemon's socket; proxy=, netcat=, socket= and mode= as there. For the drivers test and qmp:
/// `vmferry serve --stdio URI`. Errors: uri_invalid for values with control characters, backslashes
/// or exclamation marks, on whose quoting the shells of this world differ.
Result<std::string> remote_command(const ConnectUri& uri, const std::string& user, bool read_only);

/// The error for a remote command that ended before it sent a byte.
Error helper_failed(const ConnectUri& uri, const std::string& peer, std::optional<int> status,
                    const std::string& said);

}  // namespace vmferry
