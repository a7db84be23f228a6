// What is wrong with the URIs of a migration.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/migrate/resolver.hpp"

namespace vmferry {

namespace {

Objection p2p_object(std::int32_t code, std::string reason, std::string remedy) {
  Objection o{Source::uri, Opt::peer2peer, {}, std::move(reason), std::move(remedy), code};
  o.rule = "common";
  return o;
}

/// Parts of a connection URI that make whoever opens it run programs or use local files.
std::vector<std::string> local_powers(const ConnectUri& uri) {
  std::vector<std::string> out;
  if (uri.transport == Transport::ext) out.emplace_back("the transport +ext");
  const auto has = [&](const std::optional<std::string>& value, std::string_view name) {
    if (value) out.push_back(fmt::format("{}=", name));
  };
  has(uri.command, "command");
  has(uri.socket, "socket");
  has(uri.netcat, "netcat");
  has(uri.keyfile, "keyfile");
  has(uri.known_hosts, "known_hosts");
  has(uri.pkipath, "pkipath");
  has(uri.vmferry, "vmferry");
  if (uri.no_verify) out.emplace_back("no_verify=");
  if (uri.known_hosts_verify == KnownHostsVerify::ignore) out.emplace_back("known_hosts_verify=");
  return out;
}

}  // namespace

std::vector<Objection> check_p2p_uri(std::string_view text, bool any_uri) {
  const Result<ConnectUri> uri = parse_connect_uri(text);
  if (!uri)
    return {p2p_object(kInvalidArg, fmt::format("--p2p: {}", uri.error().message),
                       "Give the destination's URI as the source host would open it.")};
  std::vector<Objection> out;
  const std::string& host = uri->uri.host;
  const bool unix_socket = uri->transport == Transport::unix_ && uri->socket;
  if (host.starts_with("localhost") || (host.empty() && !unix_socket))
    out.push_back(p2p_object(
        kInvalidArg,
        fmt::format("--p2p: the source's daemon would open {} itself, and find itself there",
                    escaped(text, 512)),
        "Give the destination's URI as the source host would open it, with its host name."));
  const std::vector<std::string> powers = local_powers(*uri);
  if (!powers.empty() && !any_uri)
    out.push_back(p2p_object(
        0,
        fmt::format("--p2p: the source's daemon would act on {} of the destination URI, with its "
                    "own rights and files",
                    joined(powers, ", ")),
        "Leave it out, or insist with --p2p-any-uri."));
  return out;
}

void Resolver::check_uris() {
  // Simulated hosts are all in one process, and are who their path says; so are directories of bare
  // QEMU on this machine.
  const auto both_are = [&](std::string_view scheme) {
    return source_.uri.starts_with(scheme) && destination_.uri.starts_with(scheme);
  };
  const bool here = both_are("test:///") || both_are("qmp:///");
  if (yes(Opt::peer2peer) && !here)
    for (Objection& o : check_p2p_uri(destination_.uri, out_.asked.p2p_any_uri))
      out_.objections.push_back(std::move(o));
  if (out_.asked.trust_host || cannot()) return;
  const Params& params = out_.plan.params;
  const auto* data = params.get<std::string>("migrate_uri");
  if (data != nullptr)
    for (Objection& o : check_uri(rules_, *data)) out_.objections.push_back(std::move(o));
  if (!among(rules_.uri.schemes, "unix")) return;
  const auto* disks = params.get<std::string>("disks_uri");
  if (disks != nullptr && !disks->starts_with("tcp:") && !disks->starts_with("unix:"))
    object(Source::uri, Opt::disks_uri, kInvalidArg,
           fmt::format("--disks-uri {}: its scheme must be tcp or unix", escaped(*disks, 512)));
  if (disks != nullptr && disks->starts_with("unix:") && yes(Opt::tls))
    object(Source::uri, Opt::disks_uri, kOperationUnsupported,
           "--disks-uri with a unix socket and --tls exclude each other", "Leave --tls out.");
  if (data == nullptr || !data->starts_with("unix:")) return;
  if (yes(Opt::tls) && !yes(Opt::tls_destination))
    object(Source::uri, Opt::tls, kOperationUnsupported,
           "--tls over a unix socket needs --tls-destination: a socket has no name to check",
           "Add --tls-destination.");
  if (yes(Opt::listen_address))
    object(Source::uri, Opt::listen_address, kInvalidArg,
           "--listen-address makes no sense: the data goes to a unix socket",
           "Leave --listen-address out.");
  if ((yes(Opt::non_shared_disk) || yes(Opt::non_shared_inc)) && !yes(Opt::disks_uri))
    object(Source::uri, Opt::disks_uri, kInvalidArg,
           "copying disks with a unix --migrateuri needs --disks-uri too", "Add --disks-uri.");
}

}  // namespace vmferry
