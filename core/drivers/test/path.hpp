#pragma once
// Where the frames of a copy go: into an incoming guest of this process, to another process, or
// into a tunnel.
#include <memory>
#include <string>
#include <vector>

#include "core/drivers/test/data.hpp"
#include "core/drivers/test/world.hpp"

namespace vmferry::sim {

class DataPath {
 public:
  virtual ~DataPath() = default;
  /// Errors: remote; the destination does not want any more.
  virtual Task<> deliver(const Bytes& frames) = 0;
  virtual void check() const = 0;        ///< Errors: remote, when it is known to be broken
  virtual void check_disks() const = 0;  ///< Errors: remote, nobody takes disks there
  virtual Task<> finish() = 0;           ///< everything was delivered
  /// The CPUs have gone over; from now on, or at the destination's pace, the rest follows: the
  /// named pages as they are now.
  virtual void follow(std::vector<std::uint32_t> pages) = 0;
  virtual const HostState* destination() const = 0;  ///< null: in another process
};

/// What a path needs to know of the source.
struct Leaving {
  std::shared_ptr<World> world;
  std::shared_ptr<Guest> guest;
  std::shared_ptr<OutJob> job;
  Executor ex;
};

/// To whoever listens there. Errors: remote; unsupported when `tls` is asked for and the data would
/// leave this process.
Task<std::unique_ptr<DataPath>> open_path(Leaving leaving, std::string uri, bool tls);
/// Through a tunnel that a destination has opened.
std::unique_ptr<DataPath> tunnel_path(Leaving leaving, std::unique_ptr<Stream> data);

}  // namespace vmferry::sim
