// What forbids a migration. Every check adds its objections; none stops the others.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/migrate/resolver.hpp"

namespace vmferry {

namespace {

/// Parameters that protocols before v3-with-parameters can carry.
bool is_basic(Opt o) {
  return o == Opt::migrate_uri || o == Opt::destination_name || o == Opt::destination_xml ||
         o == Opt::bandwidth;
}

/// What a peer-to-peer source keeps for itself (qemuMigrationSrcPerformPeer2Peer3).
bool stays_at_source(Opt o) {
  return o == Opt::persistent_xml || o == Opt::auto_converge_initial ||
         o == Opt::auto_converge_increment || o == Opt::tls_destination ||
         o == Opt::bandwidth_avail_switchover || o == Opt::auto_converge ||
         o == Opt::abort_on_error || o == Opt::change_protection;
}

}  // namespace

// A host newer than we are may have learnt it: who trusts it goes by what it answers.
bool Resolver::cannot() const {
  const HostFeatures& f = source_.features;
  const bool any = f.v1 || f.v2 || f.v3 || f.v3_params;
  return !rules_.cannot.empty() && !(out_.asked.trust_host && any);
}

void Resolver::check_hosts() {
  if (cannot()) {
    object(Source::driver, {}, kNoSupport, std::string(rules_.cannot),
           "See `vmferry rules` for drivers that migrate.");
    return;
  }
  if (destination_.type.empty()) return;
  const DriverRules& there = rules_of(destination_.type, destination_.uri);
  if (&there != &rules_ && lower(source_.type) != lower(destination_.type))
    object(Source::host, {}, 0,
           fmt::format("the source is {} and the destination {}; a guest moves between hypervisors "
                       "of one kind only",
                       rules_.title, there.title),
           "Give a destination of the source's kind.")
        .side = Side::destination;
  if (!source_.uri.empty() && source_.uri == destination_.uri)
    object(Source::host, {}, kInternalError, "source and destination are the same connection",
           "To replace the hypervisor under a guest use `vmferry upgrade`.");
}

void Resolver::check_relations_now() {
  std::vector<Objection> found = check_relations(chosen_, out_.asked.strict, Source::command);
  for (Objection& o : check_methods(chosen_, out_.plan.params, Source::command))
    found.push_back(std::move(o));
  for (Objection& o : found) {
    const bool by_default =
        (o.option && was_filled(*o.option)) || (o.other && was_filled(*o.other));
    const bool of_offline = o.option == Opt::offline || o.other == Opt::offline;
    if (by_default && of_offline && active_ && rules_.habits.offline_ignored) continue;
    if (by_default) o.source = Source::common;
    const bool stopped = !active_ && was_filled(Opt::offline);
    if (stopped && of_offline) {
      const Opt typed = o.option == Opt::offline && o.other ? *o.other : *o.option;
      o.reason = fmt::format("{} makes no sense: {} is not running, only its definition moves",
                             option_text(typed), escaped(domain_.ref.name, 255));
      o.remedy = fmt::format("Leave {} out, or start the guest first.", option_text(typed));
      o.option = typed;
      o.other = Opt::offline;
      if (o.code == 0) o.code = ruling(rules_, typed, active_, 0).code;
    }
    out_.objections.push_back(std::move(o));
  }
}

void Resolver::check_driver() {
  if (cannot()) return;
  for (const OptRow& r : opt_rows()) {
    check_release(r);
    if (!out_.asked.trust_host) check_option(r);
  }
  if (!active_ && !rules_.inactive.empty() && !out_.asked.trust_host)
    object(Source::driver, {}, kOperationInvalid,
           fmt::format("{} is not running: {}", escaped(domain_.ref.name, 255), rules_.inactive),
           "Start it first, or define its XML on the destination.");
  if (domain_.status.state == DomainState::paused && !rules_.paused.empty() &&
      !out_.asked.trust_host)
    object(Source::driver, {}, kInternalError,
           fmt::format("{} is paused: {}", escaped(domain_.ref.name, 255), rules_.paused),
           "Resume it first.");
}

void Resolver::check_option(const OptRow& r) {
  const Ruling says = ruling(rules_, r.id, active_, 0);
  const std::string option = option_text(r.id);
  const auto already = [&] {  // the common rules said so in better words
    return std::ranges::any_of(out_.objections, [&](const Objection& o) {
      return o.option == r.id && o.other == Opt::offline;
    });
  };
  if (yes(r.id)) {
    if (says.stance == Stance::refused && !already())
      object(Source::driver, r.id, says.code, fmt::format("{}: {}", option, says.reason),
             fmt::format("Leave {} out.", option));
    if (says.stance == Stance::harmless)
      out_.notes.push_back(fmt::format("{}: {}", option, says.reason));
  } else if (says.stance == Stance::demanded) {
    object(Source::driver, r.id, says.code,
           chosen_.no(r.id) ? fmt::format("--no-{} is refused: {}", r.option, says.reason)
                            : fmt::format("{} is demanded: {}", option, says.reason),
           chosen_.no(r.id) ? fmt::format("Leave --no-{} out.", r.option)
                            : fmt::format("Add {}.", option));
  } else if (says.stance == Stance::inherent && chosen_.no(r.id)) {
    object(Source::driver, r.id, 0, fmt::format("--no-{} is refused: {}", r.option, says.reason),
           fmt::format("Leave --no-{} out.", r.option));
  }
}

void Resolver::check_release(const OptRow& r) {
  if (!yes(r.id) || (!is_flag(r.id) && !is_param(r.id)) || out_.asked.trust_host) return;
  const auto look = [&](const HostView& host, Side side, std::string_view who) {
    const Ruling says = ruling(rules_, r.id, active_, host.library_version);
    if (!says.unknown) return;
    object(Source::release, r.id, says.code,
           fmt::format("{}: the {}'s {}", option_text(r.id), who, says.reason),
           fmt::format("Leave {} out.", option_text(r.id)))
        .side = side;
  };
  look(source_, Side::source, "source");
  if (out_.plan.kind == Kind::managed || !stays_at_source(r.id))
    look(destination_, Side::destination, "destination");
  if (r.id != Opt::compression) return;
  for (const TypedParam& p : out_.plan.params.items) {
    const auto* method = p.field == "compression" ? std::get_if<std::string>(&p.value) : nullptr;
    if (method == nullptr || (*method != "zlib" && *method != "zstd")) continue;
    for (const HostView* host : {&source_, &destination_})
      if (host->library_version != 0 && host->library_version < libvirt_version(9, 4, 0))
        object(Source::release, r.id, kInvalidArg,
               fmt::format("--comp-methods {}: libvirt {} on the {} does not know it; it came with "
                           "9.4.0",
                           *method, version_text(host->library_version),
                           host == &source_ ? "source" : "destination"));
  }
}

void Resolver::check_state() {
  const std::string who = escaped(domain_.ref.name, 255);
  const bool paused = domain_.status.state == DomainState::paused;
  if (paused && chosen_.no(Opt::paused) && has_data() && !yes(Opt::postcopy_resume))
    object(Source::common, Opt::paused, 0,
           fmt::format("--no-suspend: {} is paused now, and arrives as it is", who),
           "Resume it before, or after the migration.");
  if (!yes(Opt::postcopy_resume)) {
    if (!domain_.status.paused_by_migration() || yes(Opt::offline)) return;
    Error why = stopped_by_another(domain_.ref.name);
    object(Source::common, {}, kOperationInvalid, std::move(why.message), std::move(why.remedy));
    return;
  }
  const bool broken = (paused && domain_.status.reason == kPausedPostcopyFailed) ||
                      (domain_.status.state == DomainState::running &&
                       domain_.status.reason == kRunningPostcopyFailed);
  if (!broken)
    object(Source::common, Opt::postcopy_resume, kOperationInvalid,
           fmt::format("--postcopy-resume: {} has no broken post-copy migration to go on with; it "
                       "is {} ({})",
                       who, state_text(domain_.status.state), reason_text(domain_.status)),
           "Leave --postcopy-resume out.");
}

void Resolver::check_features() {
  const HostFeatures& s = source_.features;
  const HostFeatures& d = destination_.features;
  const bool know_destination = !destination_.type.empty();
  const auto lacks = [&](Opt option, std::int32_t code, Side side, std::string_view what) {
    object(Source::host, option, code,
           fmt::format("{}: the {} says that it cannot {}", option_text(option), name(side), what),
           fmt::format("Leave {} out.", option_text(option)))
        .side = side;
  };
  // What the driver refuses anyway needs no second reason.
  const auto open = [&](Opt option) {
    const bool refused = ruling(rules_, option, active_, 0).stance == Stance::refused;
    return yes(option) && !cannot() && (out_.asked.trust_host || !refused);
  };
  if (open(Opt::offline)) {
    if (!s.offline) lacks(Opt::offline, kArgumentUnsupported, Side::source, "move definitions");
    if (know_destination && !d.offline)
      lacks(Opt::offline, kArgumentUnsupported, Side::destination, "take definitions");
  }
  if (open(Opt::change_protection) && !s.change_protection)
    lacks(Opt::change_protection, kArgumentUnsupported, Side::source, "protect the guest");
  if (open(Opt::peer2peer) && !s.p2p)
    lacks(Opt::peer2peer, kArgumentUnsupported, Side::source, "migrate peer-to-peer");
  if (open(Opt::peer2peer) && know_destination && !d.p2p)
    lacks(Opt::peer2peer, kOperationFailed, Side::destination, "migrate peer-to-peer");
  if (open(Opt::direct) && !s.direct)
    lacks(Opt::direct, kArgumentUnsupported, Side::source, "migrate directly");
}

void Resolver::check_protocol() {
  if (cannot()) return;
  const HostFeatures& s = source_.features;
  // Unmanaged: the source alone is asked (virDomainMigrateUnmanaged).
  const bool managed = out_.plan.kind == Kind::managed;
  const HostFeatures& d = managed ? destination_.features : s;
  Protocol& p = out_.plan.protocol;
  if (s.v3_params && d.v3_params)
    p = Protocol::v3_params;
  else if (s.v3 && d.v3)
    p = Protocol::v3;
  else if ((s.v2 && d.v2) || !managed)
    p = Protocol::v2;
  else if (s.v1 && d.v1)
    p = Protocol::v1;
  else {
    object(Source::host, {}, kNoSupport,
           "the two hosts have no version of the migration protocol in common",
           "See `vmferry capabilities --migration` on both.");
    return;
  }
  if (p == Protocol::v3_params) return;
  for (const OptRow& r : opt_rows()) {
    if (!is_param(r.id) || !yes(r.id)) continue;
    if (is_basic(r.id) && (r.id != Opt::destination_xml || p == Protocol::v3)) continue;
    object(Source::host, r.id, kArgumentUnsupported,
           fmt::format("{}: only newer protocols carry it, and these hosts do not both know one",
                       option_text(r.id)),
           fmt::format("Leave {} out.", option_text(r.id)));
  }
}

}  // namespace vmferry
