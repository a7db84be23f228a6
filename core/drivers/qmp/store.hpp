#pragma once
// What this driver remembers, in files; the processes themselves are the truth.
//
//   STATE/domains/UUID.json       a definition
//   STATE/migrations/ID.json      whether a guest that came in here was ever started
//   STATE/logs/UUID.log           what its QEMU processes printed
//   RUN/UUID.XXXXXXXX/            one QEMU process: instance.json, pid, monitors m0 to m3
//   RUN/UUID.job                  locked by whoever works on that domain
//
// An entry whose process is gone is removed by whoever sees it.
#include <optional>
#include <string>
#include <vector>

#include "core/base/config.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/definition.hpp"
#include "core/drivers/qmp/process.hpp"

namespace vmferry::qmp {

/// Name of the anonymous memory of guests that we start.
inline constexpr const char* kMemoryName = "vmferry-ram";
/// Monitors of each process: a monitor serves one client at a time.
inline constexpr int kMonitors = 4;

struct Places {
  std::string run, state;
};
/// Of a connection URI: ?dir=PATH, else the session's (XDG) or the system's. Errors: uri_invalid.
Result<Places> places_of(const ConnectUri& uri, const Environment& environment);

/// How far a process has come.
enum class Stage : std::uint8_t {
  incoming,     ///< waits for, or has received, a guest that never ran here
  active,       ///< it is the guest
  handed_over,  ///< another process has its memory and may have changed it: never to run again
};

/// One QEMU process that is, or may become, a domain.
struct Instance {
  std::string dir;
  std::string name;
  Uuid uuid;
  ProcessId process;
  Words argv;                    ///< without RAM backend and monitors; machine type pinned
  std::uint64_t shared_ram = 0;  ///< bytes of RAM that can be handed over; 0: none
  Stage stage = Stage::active;
  std::string migration;     ///< id of the migration that it came in by, or that it left by
  bool held = false;         ///< paused by a migration, not by a user
  bool transient = false;    ///< has no definition of its own
  bool same_kernel = false;  ///< it came in from this machine: both sides end with it
  std::string xml;           ///< of the running guest
  std::vector<std::string> monitors;  ///< paths of sockets
  std::string directory = "/";        ///< its relative paths begin there
  std::string pid_file;               ///< that others look into; kept by us. Empty: none
  /// Sockets under a temporary name while another process has the real one; see SideBySide.
  std::vector<std::pair<std::string, std::string>> renames;
  std::vector<Afterwards> afterwards;  ///< for when that one is gone, or has stepped aside
  std::vector<std::string> made;       ///< images that were made for it: removed if it never ran
  bool postcopy = false;               ///< it is, or was, on two hosts: only completion ends that
  Places went_to;           ///< the destination's, while it leaves for one on this host; or empty
  std::uint64_t speed = 0;  ///< that somebody has set, bytes/s; 0: nobody
  std::uint64_t downtime = 0;          ///< likewise, ms
  bool adopted = false;                ///< someone else started it
  std::vector<std::string> cannot;     ///< what another process would not have: why it must stay
  std::vector<std::string> here_only;  ///< what a process on another host would not have

  std::string lock_of(std::size_t monitor) const { return dir + "/lock" + std::to_string(monitor); }
};

/// Where a process takes a guest from another one of this machine.
inline std::string data_of(const std::string& instance_dir) { return instance_dir + "/in"; }

/// Told by who aborts its migration to who follows the copy, which only sees it fail. Errors: io
void mark_aborted(const Instance& instance);
bool was_aborted(const Instance& instance);

class Store {
 public:
  explicit Store(Places places);  ///< makes the directories. Errors: io, denied
  const Places& places() const { return places_; }

  std::vector<Definition> definitions() const;
  std::optional<Definition> definition(const Uuid& uuid) const;
  void save(const Definition& definition) const;
  void forget(const Uuid& uuid) const;

  /// Those that are alive.
  std::vector<Instance> instances() const;
  std::string new_instance_dir(const Uuid& uuid) const;
  void save(const Instance& instance) const;
  void remove(const Instance& instance) const { remove_all(instance.dir); }
  std::string log_of(const Uuid& uuid) const;

  /// Directories of processes that were being started when whoever did so died.
  std::vector<std::string> unfinished() const;

  /// Records that a guest comes in; then that it is about to be started. `what`: program if both
  /// sides run on this machine, and so end with it.
  void expect(const std::string& migration, Outlives what) const;
  /// Errors: invalid_state when settle_started() was quicker.
  void starting(const std::string& migration, Outlives what) const;
  /// QEMU refused to start it, and is gone.
  void not_started(const std::string& migration) const;
  /// The old process is gone: nobody will ask any more.
  void forget_migration(const std::string& migration) const;
  /// Whether it was started; when it was not, it never will be. Nothing: no such record.
  std::optional<bool> settle_started(const std::string& migration) const;

  /// Only one tool at a time works on a domain. Errors: job_active.
  Fd lock_domain(const Uuid& uuid) const;

 private:
  std::string record_of(const std::string& migration) const;
  Places places_;
};

}  // namespace vmferry::qmp
