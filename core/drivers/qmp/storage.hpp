#pragma once
// Disks that only one side has: the destination exports its images over NBD, the source mirrors
// into them while the guest runs, and the mirrors end in the moment before the switch-over.
#include <string>
#include <vector>

#include "core/flags/flag.hpp"
#include "core/flags/param.hpp"
#include "core/qmp/client.hpp"

namespace vmferry::qmp {

/// A disk that is copied.
struct DiskToCopy {
  std::string name;  ///< QEMU's name of the drive, the same on both sides
  std::string node;  ///< of the block graph, on this side
  std::string file;  ///< its image, on this side
  std::string format;
  std::uint64_t bytes = 0;  ///< virtual size
  std::string identity;     ///< of a local file: "device:inode"
};
Json to_json(const std::vector<DiskToCopy>& disks);
std::vector<DiskToCopy> disks_from(const Json& list);

inline bool copies_disks(FlagSet flags) {
  return flags.has(Flag::non_shared_disk) || flags.has(Flag::non_shared_inc);
}

/// The disks of a guest that are to be copied: those of --migrate-disks, by the names of its XML or
/// of QEMU; without it, all that are writable and have a medium. Errors: usage for one that is not
/// there, or read-only.
Task<std::vector<DiskToCopy>> disks_to_copy(Client& client, std::string xml, Params params);

/// The destination: exports its images. `server`: a SocketAddress, or an inet one without a port,
/// for which a free one of 49152 to 49215 is found. Returns where they are.
/// Errors: image_missing (no such drive), config_unsupported (another size), unsafe (both sides
/// have one and the same file), ports_used.
Task<Json> export_disks(Client& client, std::vector<DiskToCopy> theirs, Json server);

/// Makes images that are missing: sparse and raw, as big as the source's. Returns their paths.
/// Errors: image_missing when it has another format, io, no_space.
std::vector<std::string> make_images(const std::vector<std::string>& argv,
                                     const std::string& directory,
                                     const std::vector<DiskToCopy>& disks);

/// Writes out what the kernel still keeps of the guest's images: QEMU does so while the guest
/// stands still, and the less is left then, the shorter.
Task<> flush_images(Client& client);

struct Mirrors {
  std::vector<DiskToCopy> disks;
  Json server;                         ///< of the destination, with its host as the source sees it
  bool increments = false;             ///< only what is above the backing file
  bool synchronous = false;            ///< a write ends when it is on both sides
  std::uint64_t bytes_per_second = 0;  ///< 0: no limit
};
/// Begins to mirror, and returns when both sides are the same and stay so. Errors: migrate_failed
/// with QEMU's reason; cancelled.
Task<> mirror(Client& client, const Mirrors& mirrors);
/// In the moment before the switch-over: ends them, with nothing outstanding.
Task<> end_mirrors(Client& client, const Mirrors& mirrors);
/// Whatever is left of mirrors is cancelled and removed; the guest writes to its own images only.
Task<> drop_mirrors(Client& client);
/// Adds what is copied of disks to the figures of a job; false: nothing is.
bool add_disk_figures(const Json& jobs, Params& fields);

}  // namespace vmferry::qmp
