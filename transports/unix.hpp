#pragma once
#include <memory>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"

namespace vmferry {

/// Connects to a unix socket; a path that begins with "@" is one of Linux's abstract namespace.
/// A full backlog is waited for, at most `limit`. Errors: connect_failed, connect_timeout, with
/// path and cause; uri_invalid for a path that no socket can have (above 107 bytes).
Task<std::unique_ptr<Stream>> connect_unix(Clock& clock, std::string path,
                                           Micros limit = std::chrono::seconds(10));

}  // namespace vmferry
