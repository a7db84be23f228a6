#pragma once
// QEMU processes: started detached, known by pid and start time, waited for by pidfd.
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "core/async/clock.hpp"
#include "core/drivers/qmp/files.hpp"

namespace vmferry::qmp {

/// A process. Pids are used again; the start time (proc(5), stat field 22) tells them apart.
struct ProcessId {
  std::int32_t pid = -1;
  std::uint64_t start = 0;
  bool operator==(const ProcessId&) const = default;
};

/// The process that has this pid now; start 0 when there is none, or only a zombie without threads.
ProcessId process_now(std::int32_t pid);
bool alive(const ProcessId& id);

struct Launch {
  std::vector<std::string> argv;  ///< argv[0] is looked for in PATH
  std::string directory = "/";    ///< where it runs
  std::string log;                ///< standard output and error are appended there
  std::string pid_file;           ///< written by the new process itself, before QEMU begins
  std::vector<int> keep;          ///< descriptors that it inherits; all others are closed
};

/// Starts a program in a session of its own, as nobody's child. Errors: not_found (no such
/// program), io.
ProcessId spawn(const Launch& launch);

/// Whether it has ended within `limit`.
Task<bool> ended_within(ProcessId id, Clock& clock, Micros limit);
/// To this process or none. Errors: denied.
void send_signal(const ProcessId& id, int number);
inline void kill_now(const ProcessId& id) { send_signal(id, SIGKILL); }
/// SIGKILL, and waits until it is gone. Errors: denied; busy when the kernel does not let it go.
Task<> kill_and_wait(ProcessId id, Clock& clock);

/// A listening unix socket for QEMU to inherit: it can be connected to before QEMU is ready.
/// Errors: io; uri_invalid when the path is above the 107 bytes of a socket's address.
Fd listen_unix(const std::string& path);
/// Anonymous memory that can be shared by processes (memfd_create). Errors: io, memory_short.
Fd make_memory(const std::string& name, std::uint64_t bytes);
/// The memory that make_memory gave to a process, opened again. Nothing if it has none of this
/// name and size, or may not be looked into.
std::optional<Fd> memory_of(const ProcessId& id, const std::string& name, std::uint64_t bytes);

/// Identifies the running kernel.
std::string machine_token();
/// Identifies the running kernel and the view of processes in it: what two sides must have in
/// common to hand memory over.
std::string host_token();
/// Identifies what files a process sees, and as whom: two that have it in common can meet at a
/// socket of mode 0700. Empty when it may not be looked into.
std::string files_token(std::int32_t pid);
/// Identifies the network namespace: where two processes cannot both have one port.
std::string network_token();

}  // namespace vmferry::qmp
