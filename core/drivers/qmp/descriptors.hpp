#pragma once
// What a running process has open, and how another one gets it.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/drivers/qmp/process.hpp"

namespace vmferry::qmp {

/// The open descriptors of a process that a second one needs. Functions, so that what is made of
/// them can be tested without one; a process of which nothing is known has none.
struct Belongings {
  /// A duplicate of one of its descriptors (pidfd_getfd(2)). Errors: denied, io.
  std::function<Result<Fd>(int number)> take = [](int) -> Result<Fd> {
    return fail(ErrorId::unsupported, "the descriptor is not known to us");
  };
  /// Its descriptors that are queues of this TAP device, in the order of their numbers.
  std::function<std::vector<int>(const std::string& device)> tap_queues = [](const std::string&) {
    return std::vector<int>();
  };
  /// Its descriptor that listens on this TCP port.
  std::function<std::optional<int>(std::uint16_t port)> listener = [](std::uint16_t) {
    return std::optional<int>();
  };
};

Belongings belongings_of(const ProcessId& id);

/// Duplicates of its TCP connections to this port of whatever host; none when it may not be looked
/// into. What is set on one of them is set on the process's own.
std::vector<Fd> connections_of(const ProcessId& id, std::uint16_t port);

}  // namespace vmferry::qmp
