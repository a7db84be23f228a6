// The plan itself, and what will be true afterwards.
#include <fmt/format.h>

#include "core/base/text.hpp"
#include "core/migrate/resolver.hpp"

namespace vmferry {

std::string_view name(DataPath::Protection protection) {
  static constexpr std::string_view names[] = {"nothing-moves", "clear", "tls",
                                               "tunnelled",     "local", "hypervisor"};
  return names[static_cast<std::size_t>(protection)];
}

void Resolver::choose_kind() {
  if (yes(Opt::direct)) out_.plan.kind = Kind::direct;
  if (yes(Opt::peer2peer)) out_.plan.kind = Kind::peer_to_peer;
}

void Resolver::set_flags() {
  for (int bit = 0; bit < kFlagCount; ++bit) {
    const Flag f = static_cast<Flag>(bit);
    if (!yes(opt(f)) || f == Flag::change_protection) continue;
    if (f == Flag::offline && !only_definition()) continue;
    const Ruling says = ruling(rules_, opt(f), active_, 0);
    if (says.stance == Stance::inherent && !says.sent && !out_.asked.trust_host)
      continue;  // done anyway; the daemon would reject the bit
    out_.plan.flags.add(f);
  }
  // Zero is every limit's "not limited".
  for (const char* limit : {"bandwidth", "bandwidth.postcopy", "bandwidth.avail.switchover"}) {
    const auto* value = out_.plan.params.get<std::uint64_t>(limit);
    if (value != nullptr && *value == 0) out_.plan.params.remove(limit);
  }
}

void Resolver::describe_steps() {
  if (immovable()) return;
  const auto step = [&](std::string_view phase, Side side, std::string what) {
    out_.steps.push_back({std::string(phase), side, std::move(what)});
  };
  const bool data = !only_definition();
  const bool stopped = data && !active_;
  const Protocol p = out_.plan.protocol;
  if (out_.plan.kind == Kind::peer_to_peer) {
    step("perform", Side::source,
         fmt::format("its daemon opens {} and drives all phases", escaped(destination_.uri, 512)));
    return;
  }
  if (out_.plan.kind == Kind::direct) {
    step("perform", Side::source, "the hypervisors move the guest among themselves");
    return;
  }
  if (p >= Protocol::v3)
    step("begin", Side::source,
         out_.plan.change_protection ? "describe the guest, and protect it from changes"
                                     : "describe the guest");
  const bool gone = rules_.habits.removes_source;  // with perform already
  const bool paused = yes(Opt::paused) || domain_.status.state == DomainState::paused;
  step("prepare", Side::destination,
       stopped ? "make ready for the guest"
       : data  ? "make an incoming guest and listen for its memory"
               : "take the definition");
  if (data)
    step("perform", Side::source,
         fmt::format("{}{}", stopped ? "hand the guest over" : "send the memory",
                     gone ? ", and remove the guest here" : ""));
  step("finish", Side::destination,
       stopped  ? "take the guest in, shut off"
       : !data  ? "keep the definition"
       : paused ? "leave the guest paused there"
                : "run the guest there");
  if (p >= Protocol::v3)
    step("confirm", Side::source,
         gone && data                           ? "nothing is left to do"
         : yes(Opt::undefine_source) && active_ ? "end the guest there and remove its definition"
         : yes(Opt::undefine_source) || gone    ? "remove its definition there"
         : data                                 ? "end the guest there"
                                                : "release the guest");
}

namespace {

std::string_view protection_of(const ConnectUri& uri) {
  if (uri.over_ssh()) return "encrypted by ssh";
  if (uri.over_tls()) return "encrypted by TLS";
  return "in clear";
}

}  // namespace

// Between two directories of bare QEMUs; the driver decides alike (QmpHost::listen).
bool Resolver::stays_on_machine() const {
  const bool chosen = out_.plan.params.has("migrate_uri") || yes(Opt::listen_address);
  return rules_.name == "qmp" && !chosen && source_.uri.starts_with("qmp:///") &&
         destination_.uri.starts_with("qmp:///");
}

void Resolver::describe_data() {
  DataPath& d = out_.data;
  d.from = source_name();
  d.to = destination_name();
  if (immovable()) {
    d.text = "nothing moves";
    return;
  }
  if (!has_data()) {
    d.text = only_definition() ? "no memory moves"
                               : "no memory moves; disks that are not shared are copied by the "
                                 "hypervisors themselves";
    return;
  }
  using P = DataPath::Protection;
  if (yes(Opt::tunnelled)) {
    d.protection = P::tunnelled;
    d.transport = "rpc";
    const auto uri = parse_connect_uri(destination_.uri);
    d.text = fmt::format("memory goes through the daemons' own connection, {}, from {} to {}",
                         uri ? protection_of(*uri) : "in clear", d.from, d.to);
    return;
  }
  const auto* given = out_.plan.params.get<std::string>("migrate_uri");
  const std::string_view schemes = rules_.uri.schemes;
  d.transport = schemes.substr(0, schemes.find(' '));
  std::uint16_t port = 0;
  if (const auto uri = given != nullptr ? parse_migrate_uri(*given) : fail(ErrorId::usage, "")) {
    if (!uri->uri.scheme.empty()) d.transport = uri->uri.scheme;
    if (!uri->uri.host.empty()) d.to = uri->uri.host;
    if (d.transport == "unix") d.to = uri->uri.path;
    port = uri->uri.port;
  }
  if (stays_on_machine()) {
    d.protection = P::local;
    d.transport = "unix";
    d.text = fmt::format(
        "memory goes through a private unix socket on {}, or is handed over where it is shared",
        d.from);
    return;
  }
  if (d.transport == "unix") {
    d.protection = P::local;
    d.text =
        fmt::format("memory goes through the unix socket {} on {}", escaped(d.to, 512), d.from);
    return;
  }
  const std::string to = port != 0 ? host_port(d.to, port) : d.to;
  const std::string ports = port != 0 ? "" : fmt::format(" (a port of {})", rules_.default_ports);
  if (rules_.habits.removes_source) {
    d.protection = P::hypervisor;
    d.text = fmt::format("memory goes from {} to {} as those hypervisors do it ({})", d.from, to,
                         d.transport);
  } else if (yes(Opt::tls)) {
    d.protection = P::tls;
    d.text = fmt::format("memory goes encrypted by TLS over {} from {} to {}{}", d.transport,
                         d.from, to, ports);
  } else {
    d.protection = P::clear;
    d.text =
        fmt::format("memory goes in clear over {} from {} to {}{}", d.transport, d.from, to, ports);
    if (rules_.name == "qmp")
      d.text +=
          "; between two QEMUs of one machine through a unix socket, and it is handed over where "
          "it is shared";
  }
  d.to = to;
  if (yes(Opt::non_shared_disk) || yes(Opt::non_shared_inc))
    d.text += yes(Opt::tls) ? ", and disks encrypted likewise" : ", and disks likewise";
}

void Resolver::describe_end() {
  const std::string a = source_name(), b = destination_name();
  const auto* renamed = out_.plan.params.get<std::string>("destination_name");
  const std::string who = escaped(renamed != nullptr ? *renamed : domain_.ref.name, 255);
  if (active_ && only_definition()) {
    out_.end_state =
        fmt::format("after this: {} still runs on {}{}; {} has its definition, not the guest",
                    escaped(domain_.ref.name, 255), a,
                    yes(Opt::undefine_source) ? ", no longer defined there" : "", b);
    return;
  }
  const bool keeps_name = renamed == nullptr || *renamed == domain_.ref.name;
  std::string is = fmt::format("runs on {}", b);
  if (!active_)
    is = fmt::format("is shut off on {}", b);
  else if (yes(Opt::paused) || arrives_paused())
    is = fmt::format("is paused on {}", b);
  const bool kept = rules_.habits.keeps_there || yes(Opt::persist_dest);
  const std::string there = kept ? fmt::format("defined on {}", b)
                                 : fmt::format("not defined on {} (gone once it stops)", b);
  std::string here = fmt::format("gone from {}", a);
  const bool removed = rules_.habits.removes_source || yes(Opt::undefine_source);
  if (domain_.persistent)
    here = removed ? fmt::format("removed from {}", a)
                   : fmt::format("still defined on {}, shut off", a);
  out_.end_state = fmt::format(
      "after this: {}{} {}, {}, {}", who,
      keeps_name ? "" : fmt::format(" (was {})", escaped(domain_.ref.name, 255)), is, there, here);
}

void Resolver::add_notes() {
  auto& notes = out_.notes;
  const std::string b = destination_name();
  if (is_bare_host(out_.asked.destination))
    notes.push_back(fmt::format("{} means {}: the source's kind of URI, on that host",
                                escaped(out_.asked.destination, 255),
                                escaped(destination_.uri, 512)));
  const bool removed = rules_.habits.removes_source || yes(Opt::undefine_source);
  const bool kept = rules_.habits.keeps_there || yes(Opt::persist_dest);
  if (domain_.persistent && removed && !kept)
    notes.push_back("nobody will have the guest's definition: add --persistent to keep it");
  if (domain_.persistent && !removed && has_data() && !immovable())
    notes.push_back(
        fmt::format("do not start the copy that stays defined on {} while the guest "
                    "runs on {}",
                    source_name(), b));
  if (!domain_.persistent && yes(Opt::undefine_source))
    notes.push_back("--undefinesource: there is no definition on the source to remove");
  if (arrives_paused() && has_data() && !yes(Opt::paused))
    notes.push_back("the guest is paused now and arrives paused");
  if (yes(Opt::postcopy))
    notes.push_back(
        "after the switch to post-copy neither side alone has the guest: if a host or the network "
        "fails then, the guest may be lost");
  if (out_.plan.protocol < Protocol::v3)
    notes.push_back(
        "an old protocol: after the memory was sent nothing can bring the guest back to the "
        "source");
  if (out_.plan.kind == Kind::peer_to_peer)
    notes.push_back(fmt::format(
        "{}'s daemon drives this: it must be able to log in to {} by itself", source_name(), b));
  if (!rules_.departs.no_abort.empty() && has_data())
    notes.push_back(fmt::format("{}: {}, and then the guest runs on {}", rules_.departs.no_abort,
                                out_.plan.timeout ? "once it began, Ctrl-C waits for its end, and "
                                                    "--timeout only says that the time has passed"
                                                  : "once it began, Ctrl-C waits for its end",
                                b));
  if (out_.asked.trust_host)
    notes.push_back("--trust-host: the driver's rules were not looked at; the host decides alone");
}

}  // namespace vmferry
