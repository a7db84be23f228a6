#pragma once
// A request resolved against rules, state and features: what will be done, before it is done.
#include <optional>
#include <string>
#include <vector>

#include "core/flags/rules.hpp"
#include "core/host/host.hpp"
#include "core/migrate/request.hpp"

namespace vmferry {

/// Who drives the phases: this client (managed), the source's daemon (p2p), or the hypervisors.
enum class Kind : std::uint8_t { managed, peer_to_peer, direct };

struct Plan {
  Kind kind = Kind::managed;
  Protocol protocol = Protocol::v3_params;
  DomainRef domain;
  bool active = false;  ///< the guest was seen to be active when this was planned
  FlagSet flags;
  Params params;
  std::string source_uri;  ///< connection URIs, complete
  std::string destination_uri;
  std::optional<Timeout> timeout;
  bool postcopy_after_precopy = false;
  bool change_protection = false;  ///< the source holds the job from begin to confirm
  /// How long the guest may stand still before a switch-over that hangs is aborted.
  Micros max_freeze = std::chrono::seconds(10);
  Departures departs;  ///< of the source's driver
};

/// Why a guest that another migration left paused is not begun with.
Error stopped_by_another(const std::string& name);

}  // namespace vmferry
