#include "core/migrate/abilities.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace vmferry {

using Json = nlohmann::ordered_json;

namespace {

/// A thing that a host can do or not, and the name of its XML element.
struct Ability {
  std::string_view element, text;
  bool can;
};

struct Abilities {
  const DriverRules* rules;
  std::vector<Ability> list;
  std::vector<std::string> protocols;  ///< oldest first
  std::vector<std::string> schemes;
  std::vector<std::string> methods;  ///< of compression
};

bool takes(const DriverRules& rules, Opt option, const HostView& host) {
  return ruling(rules, option, true, host.library_version).stance != Stance::refused;
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view word : split(text, ' '))
    if (!word.empty()) out.emplace_back(word);
  return out;
}

Abilities abilities(const HostView& host) {
  const DriverRules& rules = rules_of(host.type, host.uri);
  const HostFeatures& f = host.features;
  const bool any = f.v1 || f.v2 || f.v3 || f.v3_params;
  const bool params = f.v3_params;
  const auto can = [&](Opt o) { return any && takes(rules, o, host); };
  Abilities out{&rules, {}, {}, {}, {}};
  out.list = {
      {"live", "live", can(Opt::live)},
      {"offline", "definition of a stopped guest", f.offline},
      {"p2p", "peer-to-peer", f.p2p},
      {"tunnelled", "tunnelled", f.p2p && can(Opt::tunnelled)},
      {"direct", "direct", f.direct},
      {"change_protection", "change protection", f.change_protection},
      {"bandwidth", "speed limit", can(Opt::bandwidth)},
      {"postcopy", "post-copy", can(Opt::postcopy)},
      {"auto_converge", "auto-converge", can(Opt::auto_converge)},
      {"parallel", "parallel connections", can(Opt::parallel)},
      {"tls", "TLS for the data", can(Opt::tls)},
      {"storage", "copying disks", can(Opt::non_shared_disk) || can(Opt::non_shared_inc)},
      {"rename", "another name there", can(Opt::destination_name)},
      {"xml", "another XML there", can(Opt::destination_xml)},
      {"events", "events", f.events},
  };
  if (f.v1) out.protocols.emplace_back("1");
  if (f.v2) out.protocols.emplace_back("2");
  if (f.v3) out.protocols.emplace_back("3");
  if (params) out.protocols.emplace_back("3-params");
  if (any) out.schemes = words(rules.uri.schemes);
  if (params && takes(rules, Opt::compression, host)) {
    out.methods = {"xbzrle", "mt"};
    if (takes(rules, Opt::compression_zlib_level, host)) {
      out.methods.emplace_back("zlib");
      out.methods.emplace_back("zstd");
    }
  }
  return out;
}

}  // namespace

std::string abilities_xml(const HostView& host) {
  const Abilities a = abilities(host);
  std::string out = fmt::format("<migration_features driver='{}'>\n", a.rules->name);
  for (const Ability& ability : a.list)
    if (ability.can) out += fmt::format("  <{}/>\n", ability.element);
  for (const std::string& p : a.protocols) out += fmt::format("  <protocol version='{}'/>\n", p);
  if (!a.schemes.empty()) {
    out += "  <uri_transports>\n";
    for (const std::string& s : a.schemes)
      out += fmt::format("    <uri_transport>{}</uri_transport>\n", s);
    out += "  </uri_transports>\n";
  }
  if (!a.methods.empty()) {
    out += "  <compression>\n";
    for (const std::string& m : a.methods) out += fmt::format("    <method name='{}'/>\n", m);
    out += "  </compression>\n";
  }
  return out + "</migration_features>\n";
}

std::string abilities_text(const HostView& host) {
  const Abilities a = abilities(host);
  const auto list = [](const std::vector<std::string>& items) {
    return items.empty() ? std::string("none") : joined(items, ", ");
  };
  std::string out;
  const auto add = [&](std::string_view label, std::string_view value) {
    out += fmt::format("{:<31}{}\n", label, value);
  };
  add("driver", fmt::format("{} (rules: {})", escaped(host.type, 64), a.rules->name));
  add("protocol versions", list(a.protocols));
  add("transports of migration URIs", list(a.schemes));
  add("compression methods", list(a.methods));
  for (const Ability& ability : a.list) add(ability.text, ability.can ? "yes" : "no");
  return out;
}

Json abilities_json(const HostView& host) {
  const Abilities a = abilities(host);
  Json out{{"driver", host.type}, {"rules", a.rules->name}};
  for (const Ability& ability : a.list) out[std::string(ability.element)] = ability.can;
  out["protocols"] = a.protocols;
  out["uri_transports"] = a.schemes;
  out["compression_methods"] = a.methods;
  return out;
}

}  // namespace vmferry
