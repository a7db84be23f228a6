#pragma once
// A domain of a simulated host: its definition, its state, its memory, and its migration jobs.
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/async/clock.hpp"
#include "core/drivers/test/cookie.hpp"
#include "core/drivers/test/memory.hpp"
#include "core/host/host.hpp"

namespace vmferry::sim {

/// One disk: how much of it there is to copy when storage is not shared.
struct GuestDisk {
  std::string target;
  std::string source;
  std::string cache;
  std::uint64_t bytes = 0;
  bool readonly = false;
  bool operator==(const GuestDisk&) const = default;
};

/// What a domain's XML says that matters here. The simulation's own figures stand in
/// `<metadata><sim:guest xmlns:sim="urn:vmferry:sim" .../></metadata>`:
///   dirty-rate (page writes a second), pages, page-size (bytes really held), hot, seed,
///   disk-size (bytes of each disk).
struct GuestSpec {
  std::string name;
  Uuid uuid;
  std::uint64_t memory_kib = 0;
  std::uint32_t vcpus = 1;
  std::uint64_t dirty_rate = 200;
  MemoryShape shape;
  std::vector<GuestDisk> disks;
  std::string xml;  ///< the whole, as given, with a UUID
};
/// Errors: xml. A missing UUID is made from the name and `seed`.
Result<GuestSpec> parse_guest(std::string_view xml, std::uint64_t seed);
/// The XML with that name, and with the id when it is active (-1: none).
std::string print_guest(const GuestSpec& spec, const std::string& name, std::int32_t id);

enum class JobPhase : std::uint8_t { begun, performing, performed };

/// The figures of a copy, in bytes of the guest (not of the scaled-down pages).
struct CopyFigures {
  Micros started{}, stopped{}, ended{};
  std::uint64_t memory_total = 0, memory_sent = 0, memory_remaining = 0;
  std::uint64_t zero_pages = 0, normal_pages = 0, normal_bytes = 0;
  std::uint64_t disk_total = 0, disk_sent = 0;
  std::uint64_t compressed_pages = 0, compressed_bytes = 0, cache_misses = 0;
  std::uint64_t bps = 0, iteration = 0, postcopy_requests = 0, dirty_rate = 0;
  Micros setup{};
  int throttle = 0;
  std::uint64_t page_bytes = 4096;  ///< what one page stands for
};

struct Guest;

/// The migration out of a host.
struct OutJob {
  MigrationId id;
  JobPhase phase = JobPhase::begun;
  std::uint64_t owner = 0;  ///< the connection that began it
  bool held = false;        ///< from begin to confirm (change protection)
  bool driven = false;      ///< peer-to-peer: begin has not come yet
  bool abort = false, postcopy_wanted = false, postcopy = false;
  bool was_running = false, postcopy_allowed = false;
  bool fed = false;                ///< post-copy: the destination has everything
  std::uint64_t postcopy_mib = 0;  ///< limit of post-copy in MiB/s; 0: none
  std::string broken;              ///< why it cannot go on, when the world decided so
  CopyFigures figures;
};

class Reception;  // reception.hpp

/// The name of a guest of which nothing has come yet.
inline constexpr std::string_view kUnnamed = "incoming";

/// The migration into a host.
struct Incoming {
  MigrationId id;
  std::uint64_t owner = 0;  ///< the connection that prepared it
  std::string uri;          ///< where it listens; empty for offline
  std::string disks_uri;    ///< where it takes disks; empty: none are copied
  std::uint64_t version = 1;
  FlagSet flags;
  Micros began{};
  bool offline = false;
  bool loaded = false;  ///< everything is here
  bool postcopy = false;
  bool finishing = false;    ///< finish is at work
  bool yet_unknown = false;  ///< version 1: its XML comes with its memory
  bool gone = false;         ///< the incoming guest was ended
  std::uint64_t bytes = 0;
  std::uint64_t frames = 0;
  std::string trouble;              ///< why the stream could not be loaded
  std::deque<std::uint32_t> wants;  ///< pages that the CPUs wait for (post-copy's way back)
  std::optional<std::string> persistent_xml;
  std::optional<GuestSpec> before;       ///< what was defined here under this UUID
  std::weak_ptr<Guest> feeder;           ///< post-copy: the source's guest, which has the rest
  std::shared_ptr<OutJob> feeding;       ///< and its job
  std::shared_ptr<Reception> reception;  ///< of data that does not come from this process
};

struct Guest {
  GuestSpec spec;
  std::string name;  ///< may differ from spec.name after --dname
  bool persistent = false, autostart = false;
  std::int32_t id = -1;
  DomainStatus status{DomainState::shutoff, 0};
  Memory memory;
  double writes_due = 0;  ///< the fraction of the next write that has passed
  Micros ran_until{};
  Micros cpu_time{};
  int throttle = 0;  ///< percent
  std::shared_ptr<OutJob> out;
  std::shared_ptr<Incoming> in;
  std::optional<JobStats> completed;
  std::uint64_t max_downtime_ms = 300, max_speed = 0, max_speed_postcopy = 0,
                cache_bytes = std::uint64_t{64} << 20;
  std::int32_t io_error = 0;    ///< the CPUs stopped for a disk
  std::string clients_sent_to;  ///< where the clients of its screen were told to go

  DomainRef ref() const { return {name, spec.uuid, id}; }
  bool active() const { return id >= 0; }
};

}  // namespace vmferry::sim
