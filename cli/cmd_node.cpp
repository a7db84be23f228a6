// What a host can do: capabilities, domcapabilities, nodeinfo.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "cli/xml_output.hpp"
#include "core/migrate/abilities.hpp"

namespace vmferry::cli {

namespace {

struct Caps {
  bool migration = false, xml = false, wrap = false;
  std::string xpath;
  Result<> check() const {
    if (xml && !migration) return fail(ErrorId::usage, "--xml needs --migration");
    if (migration && !xml && !xpath.empty())
      return fail(ErrorId::usage, "--xpath with --migration needs --xml");
    return XmlFilter{xpath, wrap}.check();
  }
};
constexpr Option kCapsOptions[] = {
    option<&Caps::migration>(
        {.name = "migration", .help = "only what it can do of migrations, as the host answers"}),
    option<&Caps::xml>({.name = "xml", .help = "with --migration: as XML, not as a table"}),
    option<&Caps::xpath>(kXpath),
    option<&Caps::wrap>(kWrap),
};

Task<Exit> capabilities(Context& context, Caps options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  if (!options.migration) {
    const std::string text = co_await host->capabilities();
    print_xml(context, "xml", text, {options.xpath, options.wrap});
    co_await host->close();
    co_return Exit::done;
  }
  const HostFeatures features = co_await host->features();
  const HostIdentity identity = co_await host->identity();
  const HostView seen = view(identity, features, connection_uri(context));
  if (options.xml && !context.json())
    print_xml(context, "xml", abilities_xml(seen), {options.xpath, options.wrap});
  else
    print_result(context, abilities_text(seen), abilities_json(seen));
  co_await host->close();
  co_return Exit::done;
}

struct DomCaps {
  std::string virttype, emulator, arch, machine, xpath;
  bool wrap = false;
  Result<> check() const { return XmlFilter{xpath, wrap}.check(); }
};
constexpr Option kDomCapsOptions[] = {
    option<&DomCaps::virttype>(
        {.name = "virttype", .metavar = "TYPE", .help = "kind of virtualisation: kvm, qemu, …"}),
    option<&DomCaps::emulator>(
        {.name = "emulatorbin", .metavar = "PATH", .help = "the emulator's binary on that host"}),
    option<&DomCaps::arch>({.name = "arch", .metavar = "ARCH", .help = "x86_64, aarch64, …"}),
    option<&DomCaps::machine>(
        {.name = "machine", .metavar = "MACHINE", .help = "machine type, such as q35"}),
    option<&DomCaps::xpath>(kXpath),
    option<&DomCaps::wrap>(kWrap),
};
constexpr std::string_view kDomCapsLegacy[] = {"virttype", "emulatorbin", "arch", "machine"};

Task<Exit> domcapabilities(Context& context, DomCaps o) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const std::string xml =
      co_await host->domain_capabilities(o.emulator, o.arch, o.machine, o.virttype);
  print_xml(context, "xml", xml, {o.xpath, o.wrap});
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
                    "concern migrations, from what the host answers and its driver's rules.",
     .examples = "vmferry capabilities --migration # what it can do of migrations\n"
                 "vmferry capabilities --migration --xml # the same, for programs\n"
                 "vmferry capabilities --xpath //host/cpu # a part of the whole",
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
