#pragma once
#include <memory>

#include "core/base/uri.hpp"
#include "transports/dial.hpp"

namespace vmferry {

/// A Stream through ssh to the daemon (or `vmferry serve`) of another host: +ssh, +libssh2 and
/// +libssh alike. With command= (a program like ssh) that program is used in batch mode instead of
/// libssh2, and so is the ssh program for an RSA key that libssh2 is too old for. Errors: as
/// dial(), ssh_host_key, ssh_helper (thrown by the first read, since the remote command ends on its
/// own time).
Task<std::unique_ptr<Stream>> dial_ssh(const ConnectUri& uri, Clock& clock,
                                       const DialOptions& options);

}  // namespace vmferry
