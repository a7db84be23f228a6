#pragma once
// Bare QEMU: processes that this driver starts, or adopts, without any daemon.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"
#include "core/base/config.hpp"
#include "core/host/host.hpp"

namespace vmferry {

/// A unix socket of this machine that waits for one connection. Gone with the object.
class Door {
 public:
  virtual ~Door() = default;
  virtual Task<std::unique_ptr<Stream>> accept() = 0;  ///< Errors: io, also after close()
  virtual void close() noexcept = 0;
};

/// What this driver needs from outside. `clock` outlives every host that is opened.
struct QmpEnvironment {
  Clock& clock;
  /// Connects to a unix socket of this machine.
  std::function<Task<std::unique_ptr<Stream>>(std::string path)> dial;
  /// Told a sentence for the user, when something happens that he did not ask for in so many words.
  std::function<void(const std::string&)> notice = [](const std::string&) {};
  Environment variables = process_environment;
  /// For migrations through our own connection. Errors: io, uri_invalid.
  std::function<std::unique_ptr<Door>(const Executor& executor, const std::string& path)> listen =
      nullptr;
  /// Opens the other host of a migration from host to host.
  std::function<Task<std::unique_ptr<Host>>(std::string uri)> open = nullptr;
};

/// The bare QEMUs of qmp:///system or qmp:///session, or those whose files are below ?dir=PATH.
/// Errors: uri_invalid, io, denied.
Task<std::unique_ptr<Host>> open_qmp(std::string uri, QmpEnvironment environment);

/// The XML of a domain that is given by its QEMU command line, as one would type it in a shell; for
/// Host::define. The name is that of -name unless given. Errors: usage, unsupported.
Result<std::string> qmp_domain_xml(std::string_view command_line, std::string name);

struct UpgradeOptions {
  std::string emulator;  ///< the new QEMU; empty: the same binary as it is on disk now
  /// Told the name of each step when it is done, and the new process's id.
  std::function<void(std::string_view step, std::int32_t pid)> on_step = nullptr;
  /// Told how far a copy of memory is, twice a second.
  std::function<void(const JobStats&)> on_progress = nullptr;
  bool dry_run = false;   ///< only start the new process, compare, and end it
  bool rehearse = false;  ///< before it, load the guest's state into a process that is thrown away
};
struct UpgradeReport {
  DomainRef domain;
  std::string old_version, new_version;
  std::string machine;
  bool handed_over = false;         ///< memory was not copied
  std::string copied_because;       ///< why it was, or would be; how the next time it need not be
  std::vector<std::string> losses;  ///< what does not survive: connections to ports, …; sentences
  Micros pause{}, total{};
  Micros rehearsal_pause{};  ///< how long the guest stood still for the rehearsal
};

/// Moves a running guest into another QEMU process on this host. Name and UUID stay.
///
/// Can be cancelled: until the new process is told to run, the guest goes on in the old one.
/// Errors: whatever happens before the new process was told to run leaves the guest running in the
/// old one. After that the old one is never resumed if its memory was handed over: `undecided` says
/// what is there. `host` was made by open_qmp; else unsupported.
Task<UpgradeReport> upgrade(Host& host, DomainRef domain, UpgradeOptions options);

struct AdoptOptions {
  std::string socket;     ///< a QMP monitor of it, on a unix socket
  std::int32_t pid = -1;  ///< below 1: whoever listens on the socket
  std::string name;       ///< empty: as QEMU calls it
  bool dry_run = false;   ///< only look
};
struct AdoptReport {
  DomainRef domain;  ///< none after a dry run
  std::string version, machine;
  std::vector<std::pair<std::string, std::string>> facts;  ///< what was found: name, value
  /// What another process would not have, each with the reason. The guest is not moved while there
  /// is one.
  std::vector<std::string> cannot;
  std::vector<std::string> here_only;  ///< what a process on another host would not have
  std::vector<std::string> remarks;    ///< what will differ, and does not matter to the guest
};

/// Makes a QEMU that someone else started a domain of this host, until it ends. Nothing of it is
/// changed. Errors: not_found, denied (another user's), busy (its monitor is in use), exists,
/// invalid_state (it is one side of a migration), unsupported (`host` was not made by open_qmp).
Task<AdoptReport> adopt(Host& host, AdoptOptions options);

struct Leftover {
  std::string what;  ///< for people
  bool removed = false;
  std::string why_not;  ///< not removed: why
};
/// What interrupted commands have left. An incoming QEMU is ended only if it provably never ran.
Task<std::vector<Leftover>> clean_up(Host& host, bool dry_run);

}  // namespace vmferry
