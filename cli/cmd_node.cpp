// What a host can do: capabilities, domcapabilities, nodeinfo.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::cli {

namespace {

struct Caps {
  bool migration = false;
};
constexpr Option kCapsOptions[] = {option<&Caps::migration>(
    {.name = "migration", .help = "only what it can do of migrations, as the host answers"})};

// What the connection itself answers when asked for its features.
struct FeatureRow {
  std::string_view name;
  bool HostFeatures::* there;
};
constexpr FeatureRow kFeatures[] = {
    {"protocol-v1", &HostFeatures::v1},   {"protocol-v2", &HostFeatures::v2},
    {"protocol-v3", &HostFeatures::v3},   {"protocol-v3-parameters", &HostFeatures::v3_params},
    {"peer-to-peer", &HostFeatures::p2p}, {"direct", &HostFeatures::direct},
    {"offline", &HostFeatures::offline},  {"change-protection", &HostFeatures::change_protection},
    {"events", &HostFeatures::events},
};

// The <migration_features> of the host's own capabilities, with what only the connection says.
std::string migration_xml(const xml::Doc& capabilities, const HostFeatures& features) {
  auto doc = xml::Doc::make("migration_features");
  xml::Node root = doc.root();
  const xml::Node own = capabilities.root().at("host/migration_features");
  if (own.at("live")) root.add("live");
  const std::vector<xml::Node> schemes = own.at("uri_transports").children("uri_transport");
  if (!schemes.empty()) {
    xml::Node list = root.add("uri_transports");
    for (const xml::Node& scheme : schemes) list.add("uri_transport").set_text(scheme.text());
  }
  for (const FeatureRow& row : kFeatures) root.add("feature").set("name", std::string(row.name));
  std::size_t i = 0;
  for (xml::Node node : root.children("feature"))
    node.set("available", features.*kFeatures[i++].there ? "yes" : "no");
  return doc.to_string();
}

Task<Exit> capabilities(Context& context, Caps options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const std::string text = co_await host->capabilities();
  if (!options.migration) {
    print_document(context, "xml", text);
    co_await host->close();
    co_return Exit::done;
  }
  const HostFeatures features = co_await host->features();
  const xml::Doc doc = value_or_throw(xml::Doc::parse(text));
  const xml::Node own = doc.root().at("host/migration_features");
  Json json = {{"live", static_cast<bool>(own.at("live"))}, {"uri_transports", Json::array()}};
  for (const xml::Node& scheme : own.at("uri_transports").children("uri_transport"))
    json["uri_transports"].push_back(scheme.text());
  for (const FeatureRow& row : kFeatures) json[std::string(row.name)] = features.*row.there;
  print_result(context, migration_xml(doc, features), json);
  co_await host->close();
  co_return Exit::done;
}

struct DomCaps {
  std::string virttype, emulator, arch, machine;
};
constexpr Option kDomCapsOptions[] = {
    option<&DomCaps::virttype>(
        {.name = "virttype", .metavar = "TYPE", .help = "kind of virtualisation: kvm, qemu, …"}),
    option<&DomCaps::emulator>(
        {.name = "emulatorbin", .metavar = "PATH", .help = "the emulator's binary on that host"}),
    option<&DomCaps::arch>({.name = "arch", .metavar = "ARCH", .help = "x86_64, aarch64, …"}),
    option<&DomCaps::machine>(
        {.name = "machine", .metavar = "MACHINE", .help = "machine type, such as q35"}),
};
constexpr std::string_view kDomCapsLegacy[] = {"virttype", "emulatorbin", "arch", "machine"};

Task<Exit> domcapabilities(Context& context, DomCaps o) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const std::string xml =
      co_await host->domain_capabilities(o.emulator, o.arch, o.machine, o.virttype);
  print_document(context, "xml", xml);
  co_await host->close();
  co_return Exit::done;
}

struct None {};

Task<Exit> nodeinfo(Context& context, None) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const NodeInfo n = co_await host->node_info();
  const auto line = [](std::string_view label, std::string_view value) {
    return labelled(label, value, 21);
  };
  const std::string text = line("CPU model", n.model) + line("CPU(s)", fmt::format("{}", n.cpus)) +
                           line("CPU frequency", fmt::format("{} MHz", n.mhz)) +
                           line("CPU socket(s)", fmt::format("{}", n.sockets)) +
                           line("Core(s) per socket", fmt::format("{}", n.cores)) +
                           line("Thread(s) per core", fmt::format("{}", n.threads)) +
                           line("NUMA cell(s)", fmt::format("{}", n.nodes)) +
                           line("Memory size", fmt::format("{} KiB", n.memory_kib));
  print_result(context, text,
               {{"model", n.model},
                {"cpus", n.cpus},
                {"mhz", n.mhz},
                {"nodes", n.nodes},
                {"sockets", n.sockets},
                {"cores", n.cores},
                {"threads", n.threads},
                {"memory_kib", n.memory_kib}});
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kCapabilities = command<Caps, capabilities>(
    {.name = "capabilities",
     .group = "Hosts",
     .summary = "print what a host and its hypervisor can do",
     .description = "Prints the host's capabilities as XML. With --migration only those that "
                    "concern migrations, with what the connection answers when asked.",
     .examples = "vmferry capabilities --migration --output json # for programs",
     .options = kCapsOptions});
static_assert(well_formed(kCapabilities));

extern constexpr Command kDomcapabilities = command<DomCaps, domcapabilities>(
    {.name = "domcapabilities",
     .group = "Hosts",
     .summary = "print what guests on a host can have",
     .description = "Prints the host's domain capabilities as XML, for the kind of guest that the "
                    "options name or for the host's default one.",
     .options = kDomCapsOptions,
     .legacy_positionals = kDomCapsLegacy});
static_assert(well_formed(kDomcapabilities));

extern constexpr Command kNodeinfo =
    command<None, nodeinfo>({.name = "nodeinfo",
                             .group = "Hosts",
                             .summary = "show a host's CPUs and memory",
                             .description = "Shows the host's CPUs, NUMA cells and memory."});
static_assert(well_formed(kNodeinfo));

}  // namespace vmferry::cli
