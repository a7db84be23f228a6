#pragma once
// What the two sides of a migration between bare QEMUs tell each other: a JSON document with a
// version, at most 1 MiB.
#include <cstdint>
#include <string>

#include "core/drivers/qmp/command_line.hpp"
#include "core/drivers/qmp/storage.hpp"
#include "core/host/host.hpp"
#include "core/qmp/json.hpp"

namespace vmferry::qmp {

inline constexpr std::size_t kMostCookie = 1 << 20;

/// From Begin to Prepare: the guest as it runs.
struct Offer {
  std::string migration;  ///< id, a UUID
  std::string xml_check;  ///< of the XML that went with it: a changed one is followed instead
  Words argv;
  std::string machine;  ///< real type, from QEMU
  std::string version;  ///< of QEMU
  std::string host;     ///< host_token() of the source
  std::int32_t pid = -1;
  std::uint64_t start = 0;
  std::uint64_t shared_ram = 0;
  bool transient = false;
  std::string directory = "/";  ///< as of Instance, and so on
  std::string pid_file;
  std::vector<DiskToCopy> disks;  ///< that are to be copied
  std::string network;            ///< network_token() of the source
  std::string files;              ///< files_token() of the source's QEMU
};
/// From Prepare to Perform.
struct Reply {
  std::string migration;
  bool hand_over = false;  ///< the memory is mapped there already, and must not be sent
  bool whole = false;      ///< and nothing but devices is
  Json disk_server;        ///< where its disks are exported; null: they are not
  bool beside = false;     ///< both processes are on one host, and want the same names
  std::string run, state;  ///< the destination's places, if it is on the source's host
  Json graphics;           ///< where its spice server is reached; null: it has none
};
/// From Perform to Finish.
struct Copied {
  std::string migration;
  JobStats stats;
  bool postcopy = false;        ///< the rest of the memory comes while the guest runs there
  std::int64_t stopped_at = 0;  ///< microseconds of the source's wall clock
  std::string host;
};

Cookie pack(const Offer& offer);
Cookie pack(const Reply& reply);
Cookie pack(const Copied& copied);
/// Errors: protocol (too long, malformed, another version, or of another phase).
Result<Offer> unpack_offer(const Cookie& cookie);
Result<Reply> unpack_reply(const Cookie& cookie);
Result<Copied> unpack_copied(const Cookie& cookie);

/// A short text that differs when the XML does (FNV-1a, 64 bits).
std::string check_of(std::string_view xml);

}  // namespace vmferry::qmp
