#pragma once
// What two processes with the same command line would both claim on one host, and what is done
// about it while a guest moves from one to the other.
#include <string>
#include <utility>
#include <vector>

#include "core/drivers/qmp/command_line.hpp"
#include "core/drivers/qmp/descriptors.hpp"
#include "core/qmp/json.hpp"

namespace vmferry::qmp {

/// A command for the second process once the first one is gone.
struct Afterwards {
  std::string command;
  Json arguments;
};

struct SideBySide {
  Words argv;  ///< for the second process
  Words kept;  ///< what is remembered as its command line: the descriptors' new numbers, no more
  std::vector<Fd> inherited;  ///< the descriptors that `argv` names
  /// Sockets that it has under a temporary name, and their real one: to be renamed once the first
  /// process is gone. QEMU silently takes over the path of a socket that exists.
  std::vector<std::pair<std::string, std::string>> renames;
  std::string vnc_host, vnc_port;  ///< where VNC is to listen in the end; empty: no TCP port
  std::vector<Afterwards> afterwards;
  std::string pid_file;                 ///< to be written anew; empty: none
  std::vector<std::string> losses;      ///< what does not survive the move; sentences
  std::vector<std::string> impossible;  ///< what cannot be had twice, or handed over; sentences
};

/// display-update of QMP: where VNC listens.
Afterwards vnc_at(const std::string& host, const std::string& port);
Afterwards vnc_at_socket(const std::string& path);

/// `suffix` is appended to the names of sockets (".new"); a VNC server on a TCP port waits on the
/// unix socket `vnc_socket` meanwhile.
SideBySide side_by_side(const Words& argv, const std::string& suffix, const std::string& vnc_socket,
                        const Belongings& first = {});

}  // namespace vmferry::qmp
