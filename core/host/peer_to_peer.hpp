#pragma once
// Peer-to-peer: one host drives the other, as libvirt's daemons do, but for one thing: when
// Finish's answer is lost, it asks before it lets its own copy run again.
#include <functional>
#include <memory>
#include <string>

#include "core/async/clock.hpp"
#include "core/host/host.hpp"

namespace vmferry {

/// What the host that drives has. All referenced objects outlive the migration.
struct Driving {
  Clock& clock;
  /// A connection of its own to itself: whoever asked may leave.
  Host& here;
  /// Opens the other host, again if need be.
  std::function<Task<std::unique_ptr<Host>>(std::string uri)> open;
  /// Perform of `here`; the guest's memory goes into the stream if there is one.
  std::function<Task<Cookie>(const PhaseCall& call, const Cookie& cookie,
                             std::unique_ptr<Stream> tunnel)>
      perform;
};

/// All phases of a migration from `driving.here` to the host at `uri`. Errors: as the phases', with
/// the side that they come from; undecided, when the destination's answer to Finish was lost and it
/// cannot be asked again: the guest then stays paused here.
Task<> drive_peer(const Driving& driving, PhaseCall call, const std::string& uri);

}  // namespace vmferry
