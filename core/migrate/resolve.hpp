#pragma once
// From a request to a plan: what was typed, seen with the drivers' rules, the domain's state and
// the hosts' features. Pure: no I/O; `plan`, `migrate --dry-run` and `migrate` run the same code.
//
// What was not said is filled in so that the guest is *moved*, with as little standstill as the
// driver can do:
//  * an active guest moves live, a stopped one by its definition (--offline);
//  * a guest that is defined on the source will be defined on the destination (--persistent) and
//    no longer on the source (--undefinesource), lest somebody start it twice; but who types
//    --persistent gets what virsh does with it: the source keeps its definition unless told;
//  * the source is protected against changes meanwhile where it can do that;
//  * whatever the driver demands, or does anyway.
// With Request::strict nothing is filled in: what the driver demands must have been typed.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/flags/rules.hpp"
#include "core/migrate/plan.hpp"

namespace vmferry {

/// What must be known of a host.
struct HostView {
  std::string type;  ///< HostIdentity::driver
  std::string uri;   ///< connection URI, complete
  std::string hostname;
  std::uint64_t library_version = 0;  ///< 0: not known
  HostFeatures features;
};
HostView view(const HostIdentity& identity, const HostFeatures& features, std::string uri);

struct DomainView {
  DomainRef ref;
  DomainStatus status;
  bool persistent = false;
};

/// Something that was not typed.
struct Filled {
  Opt option;
  std::string text;    ///< as it would be typed: "--live", "--migrateuri tcp://h"
  std::string rule;    ///< whose: a driver's name, "common", "vmferry"
  std::string reason;  ///< a sentence
  bool sent = true;    ///< false: the driver does it anyway and takes no such bit
};

struct Step {
  std::string phase;  ///< "begin", …
  Side side;
  std::string what;
};

/// How a guest's memory travels, and who could read it on the way.
struct DataPath {
  enum class Protection : std::uint8_t { nothing_moves, clear, tls, tunnelled, local, hypervisor };
  Protection protection = Protection::nothing_moves;
  std::string transport;  ///< "tcp", "unix", …; empty if nothing moves
  std::string from, to;   ///< host names; `to` with the port where it is known
  std::string text;       ///< one clause, for people
};
std::string_view name(DataPath::Protection protection);

struct Resolution {
  Request asked;
  std::string rules;  ///< name of the rule set
  Plan plan;
  std::vector<Filled> filled;
  std::vector<Objection> objections;
  std::vector<std::string> notes;  ///< worth knowing, forbids nothing
  std::vector<Step> steps;
  DataPath data;
  std::string end_state;  ///< one sentence

  bool allowed() const { return objections.empty(); }
  /// `refused` with every objection, or `usage` if all come from the command line.
  Error error() const;
};

/// The destination's connection URI: a bare host means the source's kind of URI there, over ssh.
/// Errors: uri_invalid.
Result<std::string> destination_uri(std::string_view source_uri, std::string_view destination);

/// Never fails: what is wrong is among the objections. For a peer-to-peer migration `destination`
/// may be what is known without a connection (its URI); its release is then taken as fitting.
Resolution resolve(const Request& request, const HostView& source, const HostView& destination,
                   const DomainView& domain);

/// What the source's daemon should not be handed as a destination URI in a peer-to-peer migration:
/// it would act on it as itself. Empty: nothing.
std::vector<Objection> check_p2p_uri(std::string_view uri, bool any_uri);

}  // namespace vmferry
