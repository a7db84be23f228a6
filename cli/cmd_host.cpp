// What a host says of itself: hostname, uri, version.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

namespace {

struct None {};

Task<Exit> hostname(Context& context, None) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const HostIdentity identity = co_await host->identity();
  print_result(context, printable(identity.hostname) + "\n", {{"hostname", identity.hostname}});
  co_await host->close();
  co_return Exit::done;
}

Task<Exit> uri(Context& context, None) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const HostIdentity identity = co_await host->identity();
  print_result(context, printable(identity.uri) + "\n", {{"uri", identity.uri}});
  co_await host->close();
  co_return Exit::done;
}

// libvirt's form of a version: major * 1000000 + minor * 1000 + release.
std::string dotted(std::uint64_t v) {
  return fmt::format("{}.{}.{}", v / 1000000, v / 1000 % 1000, v % 1000);
}

struct Version {
  bool daemon = false;
};
constexpr Option kVersionOptions[] = {
    option<&Version::daemon>({.name = "daemon", .help = "the daemon's version too"})};

Task<Exit> version(Context& context, Version options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const HostIdentity identity = co_await host->identity();
  const std::string library = dotted(identity.library_version);
  const std::string hypervisor = dotted(identity.hypervisor_version);
  const std::string driver = printable(identity.driver);
  std::string text =
      fmt::format("vmferry: {}\nUsing API: {} {}\n", VMFERRY_VERSION, driver, library);
  text += identity.hypervisor_version == 0
              ? fmt::format("Cannot extract running {} hypervisor version\n", driver)
              : fmt::format("Running hypervisor: {} {}\n", driver, hypervisor);
  if (options.daemon) text += fmt::format("Running against daemon: {}\n", library);
  print_result(context, text,
               {{"vmferry", VMFERRY_VERSION},
                {"driver", identity.driver},
                {"hypervisor", hypervisor},
                {"daemon", library}});
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kHostname =
    command<None, hostname>({.name = "hostname",
                             .group = "Hosts",
                             .summary = "print the host's name",
                             .description = "Prints the name by which the host calls itself."});
static_assert(well_formed(kHostname));

extern constexpr Command kUri = command<None, uri>(
    {.name = "uri",
     .group = "Hosts",
     .summary = "print the connection's URI",
     .description = "Prints the URI by which the host calls itself, as seen on that host."});
static_assert(well_formed(kUri));

extern constexpr Command kVersion = command<Version, version>(
    {.name = "version",
     .group = "Hosts",
     .summary = "print the versions of host and hypervisor",
     .description = "Prints vmferry's version, the host's libvirt and the hypervisor's.",
     .options = kVersionOptions});
static_assert(well_formed(kVersion));

}  // namespace vmferry::cli
