#pragma once
// What each kind of hypervisor says of each flag and parameter. Data in rules_*.cpp; sources are
// libvirt's drivers (virCheckFlags and virTypedParamsValidate of their phases) as of 9.0 to 11.3.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/flags/check.hpp"
#include "core/flags/param.hpp"
#include "core/flags/table.hpp"

namespace vmferry {

enum class Stance : std::uint8_t {
  accepted,
  demanded,  ///< refuses to go without
  inherent,  ///< does it always; asking for it changes nothing, asking against it is refused
  harmless,  ///< accepted, without effect
  refused,
};
std::string_view name(Stance stance);

/// Of which guests a rule speaks. A paused guest is active.
enum class When : std::uint8_t { always, running, stopped };

/// One row: what a driver says of one option.
struct Rule {
  Opt option;
  Stance stance;
  std::string_view reason;  ///< a sentence without capital and full stop; may be empty if accepted
  std::int32_t code = 0;    ///< refused, or demanded and missing: libvirt's code
  When when = When::always;
  bool sent = true;  ///< inherent: the host takes the bit too; else it would reject it
};

/// What a migration URI may look like.
struct UriRule {
  std::string_view schemes = {};  ///< space-separated; the first is made of a bare host
  std::int32_t scheme_code = 0;   ///< another scheme
  std::int32_t form_code = 0;     ///< no scheme, no host, or a part too many
  bool bare = false;              ///< no user, path, query or fragment
  bool form_first = false;        ///< the daemon looks at the form before the scheme
  bool slashes = false;           ///< tcp:HOST without slashes is another thing there
  std::string_view note = {};     ///< for people
};

/// A driver's own way, for what was not said.
struct Habits {
  bool live = false;             ///< --live for an active guest
  bool offline = false;          ///< --offline for a stopped one
  bool keep = false;             ///< --persistent if the source is, and then --undefinesource
  bool removes_source = false;   ///< the source's copy goes whatever the flags say
  bool keeps_there = false;      ///< persistent there whatever the flags say
  bool offline_ignored = false;  ///< --offline means nothing for an active guest: it moves
  bool moves_stopped = false;    ///< a stopped guest goes through perform too, without --offline
};

/// Where a driver departs from the contract of the phases (core/host/host.hpp).
struct Departures {
  std::string_view no_abort = {};  ///< not empty: a copy can be neither aborted nor suspended, why
  bool confirm_frees = false;      ///< only Confirm ends what Begin locked, whatever happens
  bool hides_standstill = false;   ///< a guest that Perform stopped is still called running
  bool outlives_client = false;    ///< the incoming guest does not end with its client's connection
};

struct DriverRules {
  std::string_view name;  ///< "qemu"; what `rules` and test:///default?rules= take
  std::string_view type;  ///< what the connection says of itself, CONNECT_GET_TYPE; lower case
  std::string_view title;
  std::string_view about;  ///< a paragraph for people
  /// Empty: this driver migrates. Else why it cannot, whatever the flags.
  std::string_view cannot = {};
  std::span<const Opt> accepted = {};  ///< without more to say
  std::span<const Rule> rules = {};    ///< looked at first, in order
  std::string_view otherwise = {};     ///< reason of refusing what no row names
  UriRule uri = {};
  Habits habits = {};
  std::string_view protocols = {};       ///< for people
  std::string_view default_ports = {};   ///< where data goes when no port was said
  std::string_view inactive = {};        ///< not empty: why a stopped guest cannot be moved
  std::string_view paused = {};          ///< not empty: why a paused guest cannot be moved
  std::string_view no_memory_path = {};  ///< not empty: how data travels, when not to a URI
  Departures departs = {};
};

std::span<const DriverRules* const> all_rules();
/// By name ("vz-2015"), or null.
const DriverRules* find_rules(std::string_view name);
/// For a connection: by its type ("QEMU", "Xen"), or by ?rules= of a simulated host's URI. A type
/// that is not known gets the rules of a driver that cannot migrate.
const DriverRules& rules_of(std::string_view type, std::string_view uri);

/// A driver's word on an option, for a guest in that state and a host of that release.
struct Ruling {
  Stance stance = Stance::refused;
  std::string reason;
  std::int32_t code = 0;
  bool sent = true;
  bool unknown = false;  ///< refused because that release is too old to know it
};
/// `library_version` 0: any release.
Ruling ruling(const DriverRules& rules, Opt option, bool active, std::uint64_t library_version);

/// The flag that a parameter serves: refused with it, for its reason.
std::optional<Opt> serves(Opt parameter);

/// Objections of a driver to exactly this set of flags and parameters: what its daemon would say,
/// without any defaults. A simulated host refuses by it.
std::vector<Objection> check_literal(const DriverRules& rules, FlagSet flags, const Params& params,
                                     bool active, std::uint64_t library_version);

/// What is wrong with a migration URI for that driver. Empty: nothing.
std::vector<Objection> check_uri(const DriverRules& rules, std::string_view uri);
/// A URI of the driver's first scheme for a bare host, address or host:port; a URI unchanged.
std::string complete_uri(const DriverRules& rules, std::string_view uri);

/// Rules between the values of parameters (compression methods and their tuning), for all drivers.
std::vector<Objection> check_methods(const Chosen& chosen, const Params& params, Source source);

}  // namespace vmferry
