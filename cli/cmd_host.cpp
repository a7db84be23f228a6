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

Task<Exit> version(Context& context, None) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const HostIdentity identity = co_await host->identity();
  const std::string library = dotted(identity.library_version);
  const std::string hypervisor = dotted(identity.hypervisor_version);
  const std::string text = fmt::format(
      "vmferry: {}\nUsing API: {} {}\nRunning hypervisor: {} {}\nRunning against daemon: {}\n",
      VMFERRY_VERSION, printable(identity.driver), library, printable(identity.driver), hypervisor,
      library);
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

extern constexpr Command kVersion = command<None, version>(
    {.name = "version",
     .group = "Hosts",
     .summary = "print the versions of host and hypervisor",
     .description = "Prints vmferry's version, the daemon's and the hypervisor's."});
static_assert(well_formed(kVersion));

}  // namespace vmferry::cli
