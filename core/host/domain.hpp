#pragma once
// What a host says of a domain. Values and names are libvirt's (libvirt-domain.h).
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/flags/param.hpp"

namespace vmferry {

struct Uuid {
  std::array<std::byte, 16> bytes{};
  bool operator==(const Uuid&) const = default;
  auto operator<=>(const Uuid&) const = default;
};
std::string to_string(const Uuid& uuid);                ///< 8-4-4-4-12, lower case
std::optional<Uuid> parse_uuid(std::string_view text);  ///< with or without dashes

/// A domain as calls name it; drivers find it by UUID.
struct DomainRef {
  std::string name;
  Uuid uuid;
  std::int32_t id = -1;  ///< -1: not active
  bool operator==(const DomainRef&) const = default;
};

enum class DomainState : std::int32_t {
  nostate = 0,
  running = 1,
  blocked = 2,
  paused = 3,
  shutdown = 4,
  shutoff = 5,
  crashed = 6,
  pmsuspended = 7,
};

// Reasons that decide something here (virDomainRunningReason, virDomainPausedReason, …).
inline constexpr std::int32_t kRunningMigrated = 2, kRunningMigrationCanceled = 6,
                              kRunningPostcopy = 10, kRunningPostcopyFailed = 11;
inline constexpr std::int32_t kPausedUser = 1, kPausedMigration = 2, kPausedStartingUp = 11,
                              kPausedPostcopy = 12, kPausedPostcopyFailed = 13;
inline constexpr std::int32_t kShutoffMigrated = 4, kShutoffFailed = 6;

/// State and why. The reason's meaning depends on the state; see reason_text.
struct DomainStatus {
  DomainState state = DomainState::nostate;
  std::int32_t reason = 0;
  bool operator==(const DomainStatus&) const = default;
  /// Its CPUs execute guest code.
  bool runs() const { return state == DomainState::running || state == DomainState::blocked; }
  /// It has a process and memory, whether or not it executes.
  bool active() const {
    return state != DomainState::shutoff && state != DomainState::crashed &&
           state != DomainState::nostate;
  }
  /// At rest between two hosts: it comes in, or was sent and may run elsewhere.
  bool paused_by_migration() const {
    return state == DomainState::paused && reason == kPausedMigration;
  }
};
std::string_view state_text(DomainState state);       ///< as `virsh domstate` prints it
std::string_view reason_text(const DomainStatus& s);  ///< as `virsh domstate --reason` prints it

struct DomainInfo {
  DomainState state = DomainState::nostate;
  std::uint64_t max_memory_kib = 0, memory_kib = 0;
  std::uint32_t vcpus = 0;
  std::uint64_t cpu_time_ns = 0;
};

/// What kind of job is under way (virDomainJobType).
enum class JobType : std::int32_t {
  none = 0,
  bounded = 1,
  unbounded = 2,
  completed = 3,
  failed = 4,
  cancelled = 5,
};

/// A job's figures: libvirt's typed fields ("memory_total", …, see libvirt-domain.h
/// VIR_DOMAIN_JOB_*). A driver without statistics gives the type and "time_elapsed" (ms) only.
struct JobStats {
  JobType type = JobType::none;
  Params fields;
  std::uint64_t number(std::string_view field) const;  ///< 0 when absent
};

/// Something a host told without being asked.
struct DomainEvent {
  enum class Kind : std::uint8_t { lifecycle, iteration, job_completed };
  Kind kind = Kind::lifecycle;
  DomainRef domain;
  std::int32_t event = 0, detail = 0;  ///< lifecycle (virDomainEventType and its detail)
  std::int32_t iteration = 0;          ///< iteration
  JobStats stats;                      ///< job_completed
};

// virDomainEventType, and the details that migration uses.
inline constexpr std::int32_t kEventDefined = 0, kEventUndefined = 1, kEventStarted = 2,
                              kEventSuspended = 3, kEventResumed = 4, kEventStopped = 5;
inline constexpr std::int32_t kSuspendedPaused = 0, kSuspendedMigrated = 1, kSuspendedPostcopy = 7,
                              kSuspendedPostcopyFailed = 8;
inline constexpr std::int32_t kStartedMigrated = 1, kResumedMigrated = 1, kResumedPostcopy = 3,
                              kStoppedMigrated = 3, kStoppedFailed = 5;

}  // namespace vmferry
