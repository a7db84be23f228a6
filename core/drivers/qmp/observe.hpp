#pragma once
// What /proc tells of a process that someone else started (proc(5)).
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/drivers/qmp/command_line.hpp"
#include "core/drivers/qmp/process.hpp"

namespace vmferry::qmp {

/// What stands behind a descriptor's number.
struct Descriptor {
  enum class Kind : std::uint8_t {
    file,
    unix_listener,
    tcp_listener,
    socket,  ///< connected, or of a kind that is not looked into
    tap,
    terminal,
    memory,
    other,
  };
  Kind kind = Kind::other;
  std::string what;  ///< path, HOST:PORT, name of the interface
};

struct Observed {
  ProcessId process;
  std::uint32_t uid = 0;
  Words argv;
  std::string directory;   ///< its relative paths begin there
  bool went_away = false;  ///< it has left that directory since (-daemonize)
  std::string program;     ///< absolute
  bool program_replaced = false;
  std::string unit;  ///< of systemd, that it is a service of; or empty
  std::map<int, Descriptor> descriptors;
};

/// Errors: not_found (no such process), denied (it may not be looked into).
Observed observe(std::int32_t pid);

struct Listening {
  std::int32_t pid = -1;
  std::string directory;  ///< in which the process bound the socket by a relative name; or empty
};
/// The process that listens on this unix socket. `pid` above 0: it must be that one.
/// Errors: not_found; usage when several do; io.
Listening listener_of(const std::string& path, std::int32_t pid);

/// Whether an image is locked the way QEMU does it (fcntl(2), open file description locks on bytes
/// from 100 on, block/file-posix.c). Nothing: it could not be asked.
std::optional<bool> image_locked(const std::string& path);

}  // namespace vmferry::qmp
