#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/host/host.hpp"

namespace vmferry {

/// Opens a connection to the host that a connection URI names, as whoever joins drivers and
/// transports made it (cli/main.cpp, a simulation). Each call makes a new connection.
/// Errors: uri_invalid, connect_*, auth_needed, no driver for it: unsupported.
using Opener = std::function<Task<std::unique_ptr<Host>>(std::string uri)>;

}  // namespace vmferry
