#pragma once
// The source's part of moving a guest's state, by QEMU's `migrate` and its events.
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/drivers/qmp/process.hpp"
#include "core/drivers/qmp/storage.hpp"
#include "core/flags/flag.hpp"
#include "core/host/domain.hpp"
#include "core/qmp/client.hpp"

namespace vmferry::qmp {

struct CopyPlan {
  ProcessId source;  ///< QEMU; none: its sockets are left alone
  std::string uri;
  Json channels;      ///< instead of `uri`, if an array
  Json capabilities;  ///< of migrate-set-capabilities; complete, on and off
  Json parameters;    ///< of migrate-set-parameters
  bool stop_first = false;
  bool hand_over = false;       ///< next to nothing is copied: there is nothing to tune
  bool abort_on_error = false;  ///< cancel when the guest meets a disk error
  Mirrors mirrors;              ///< disks that are copied, too
  bool resume = false;          ///< a broken post-copy goes on
};

struct CopyOutcome {
  JobStats stats;
  Micros stopped_at{};    ///< QEMU's wall clock, when the guest stopped; 0 if it was paused before
  bool postcopy = false;  ///< the guest is to run there now, and the rest of it is still to come
};

/// Raised from here, and only when the passes over memory stop to shrink.
inline constexpr std::int64_t kDowntimeMs = 20, kMostDowntimeMs = 2000;

/// The capabilities of a migration that a QEMU knows.
struct Capabilities {
  std::set<std::string> names;
  std::string version;  ///< of QEMU
};
Task<Capabilities> known_capabilities(Client& client);
/// Every capability that we ever set, on or off as the flags ask. Errors: feature_missing, naming
/// what this QEMU does not have; unsupported.
Json capability_list(const Capabilities& known, FlagSet flags, const Params& params,
                     bool hand_over);
/// Errors: feature_missing, when the host lacks what QEMU needs for one of them.
Task<> set_capabilities(Client& client, Json capabilities);
/// Parameters of a migration. `sending`: also those that only the source has.
Json parameter_list(FlagSet flags, const Params& params, bool sending);

/// query-migrate's word, "postcopy-active" and the like.
Task<std::string> migration_status(Client& client);
/// What is left to do where QEMU stays in "cancelling": 7.2 can do so for good, when it is told to
/// cancel while it waits for its channels (multifd_send_sync_main in migration/multifd.c). Nothing
/// that QMP has to offer ends that.
inline constexpr const char* kNeverCancelled =
    "The guest goes on, but can be neither moved nor upgraded until it has been shut down and "
    "started again.";
inline bool in_postcopy(const std::string& status) { return status.starts_with("postcopy-"); }

/// Runs the migration to its end, or until post-copy has begun. Errors: migrate_failed with QEMU's
/// reason, cancelled (also by others, and also where QEMU does not bring it to an end),
/// hypervisor_died.
Task<CopyOutcome> copy_guest(Client& client, Clock& clock, const CopyPlan& plan);

/// After a failed copy: waits until QEMU has given up, then sees to it that the guest runs. One
/// that cancels for ever does not send anything any more, so that its guest may run, too. Errors:
/// what QEMU says.
Task<> run_again(Client& client, Clock& clock);

/// query-migrate as libvirt's typed fields.
JobStats to_stats(const Json& info);

/// Whether QEMU loses writes of a running guest while it copies memory: software emulation before
/// 9.0 (upstream's fix of the dirty bitmap's fast path, March 2024).
Task<bool> loses_writes(Client& client);

}  // namespace vmferry::qmp
