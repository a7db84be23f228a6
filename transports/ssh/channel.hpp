#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/async/stream.hpp"
#include "transports/ssh/session.hpp"

namespace vmferry {

/// The error for a remote command that ended before it sent a byte, from its exit status (if it was
/// told) and its escaped standard error.
using EarlyEnd = std::function<Error(std::optional<int> status, const std::string& said)>;

/// Runs `command` on the other side and makes a Stream of it. Errors: connect_lost,
/// connect_timeout, connect_failed when the server runs no commands.
Task<std::unique_ptr<Stream>> ssh_exec(std::shared_ptr<SshSession> session, Clock& clock,
                                       Micros limit, std::string command, EarlyEnd early_end);

}  // namespace vmferry
