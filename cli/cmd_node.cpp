// What a host can do: capabilities, domcapabilities, nodeinfo.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/migrate/abilities.hpp"

namespace vmferry::cli {

namespace {

struct Caps {
  bool migration = false, xml = false;
  Result<> check() const {
    if (xml && !migration) return fail(ErrorId::usage, "--xml needs --migration");
    return {};
  }
};
constexpr Option kCapsOptions[] = {
    option<&Caps::migration>(
        {.name = "migration", .help = "only what it can do of migrations, as the host answers"}),
    option<&Caps::xml>({.name = "xml", .help = "with --migration: as XML, not as a table"}),
};

Task<Exit> capabilities(Context& context, Caps options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const std::string text = co_await host->capabilities();
  if (!options.migration) {
    print_document(context, "xml", text);
    co_await host->close();
    co_return Exit::done;
  }
  const HostFeatures features = co_await host->features();
  const HostIdentity identity = co_await host->identity();
  const HostView seen = view(identity, features, connection_uri(context));
  print_result(context, options.xml ? abilities_xml(seen) : abilities_text(seen),
               abilities_json(seen));
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
                    "concern migrations, from what the host answers and its driver's rules.",
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
