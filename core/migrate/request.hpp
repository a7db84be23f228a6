#pragma once
// What the user asked for, before anything is known of the hosts.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/async/clock.hpp"
#include "core/flags/flag.hpp"
#include "core/flags/param.hpp"

namespace vmferry {

/// What happens when --timeout has passed and the guest still runs on the source.
enum class TimeoutAction : std::uint8_t { abort, suspend, postcopy };
struct Timeout {
  Micros after{};
  TimeoutAction action = TimeoutAction::suspend;
};

struct Request {
  std::string domain;       ///< name, id or UUID
  std::string source;       ///< connection URI; empty: the default one
  std::string destination;  ///< connection URI, or a bare host name
  std::array<Choice, kFlagCount> flags{};
  Params params;        ///< typed as libvirt wants them; files are read already
  bool direct = false;  ///< --direct: the hypervisors do it among themselves
  std::optional<Timeout> timeout;
  bool postcopy_after_precopy = false;
  bool p2p_any_uri = false;  ///< a peer-to-peer URI may name programs and files of the source
  std::optional<Micros> max_freeze;  ///< unset: the plan's default
  bool strict = false;               ///< defaults off: what a driver demands must be typed
  bool trust_host = false;           ///< skip the driver's table, keep the common rules

  Choice& operator[](Flag f) { return flags[std::to_underlying(f)]; }
  Choice operator[](Flag f) const { return flags[std::to_underlying(f)]; }
};

}  // namespace vmferry
