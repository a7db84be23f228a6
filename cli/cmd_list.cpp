// list: the domains of a host.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  bool all = false, inactive = false, name = false, uuid = false, id = false, table = false;
  bool running = false, paused = false, shutoff = false;
  Result<> check() const {
    if (table && (name || uuid || id))
      return fail(ErrorId::usage, "--table excludes --name, --uuid and --id");
    return {};
  }
  bool wants(const DomainStatus& s) const {
    if (!running && !paused && !shutoff) return true;
    return (running && s.runs()) || (paused && s.state == DomainState::paused) ||
           (shutoff && !s.active());
  }
};

// Active ones by id, then the others by name, as virsh sorts them.
bool before(const ListedDomain& a, const ListedDomain& b) {
  const bool active_a = a.domain.id >= 0, active_b = b.domain.id >= 0;
  if (active_a != active_b) return active_a;
  return active_a ? a.domain.id < b.domain.id : a.domain.name < b.domain.name;
}

std::string id_text(const DomainRef& d) { return d.id < 0 ? "-" : fmt::format("{}", d.id); }

std::string columns(const Options& options, const DomainRef& d) {
  std::vector<std::string> parts;
  if (options.id) parts.push_back(id_text(d));
  if (options.uuid) parts.push_back(to_string(d.uuid));
  if (options.name) parts.push_back(printable(d.name));
  return fmt::format("{}\n", fmt::join(parts, " "));
}

Json to_json(const ListedDomain& d) {
  return {{"id", d.domain.id < 0 ? Json() : Json(d.domain.id)},
          {"name", d.domain.name},
          {"uuid", to_string(d.domain.uuid)},
          {"state", state_text(d.status.state)},
          {"reason", reason_text(d.status)}};
}

Task<Exit> list(Context& context, Options options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const bool inactive = options.all || options.inactive || options.shutoff;
  const bool active = options.all || !options.inactive;
  std::vector<ListedDomain> domains = co_await host->list(active, inactive);
  std::erase_if(domains, [&](const ListedDomain& d) { return !options.wants(d.status); });
  std::ranges::sort(domains, before);

  Table table({"Id", "Name", "State"});
  std::string lines;
  Json json = Json::array();
  for (const ListedDomain& d : domains) {
    table.add({id_text(d.domain), d.domain.name, std::string(state_text(d.status.state))});
    lines += columns(options, d.domain);
    json.push_back(to_json(d));
  }
  const bool plain = options.id || options.uuid || options.name;
  print_result(context, plain ? lines : table.text(), json);
  co_await host->close();
  co_return Exit::done;
}

constexpr Option kOptions[] = {
    option<&Options::all>({.name = "all", .help = "active and inactive domains"}),
    option<&Options::inactive>({.name = "inactive", .help = "inactive domains only"}),
    option<&Options::running>({.name = "state-running", .help = "domains that run"}),
    option<&Options::paused>({.name = "state-paused", .help = "domains that are paused"}),
    option<&Options::shutoff>({.name = "state-shutoff", .help = "domains that are shut off"}),
    option<&Options::name>({.name = "name", .help = "names only"}),
    option<&Options::uuid>({.name = "uuid", .help = "UUIDs only"}),
    option<&Options::id>({.name = "id", .help = "ids only"}),
    option<&Options::table>({.name = "table", .help = "a table (the default)"}),
};

}  // namespace

extern constexpr Command kList = command<Options, list>(
    {.name = "list",
     .group = "Domains",
     .summary = "list the domains of a host",
     .description = "Lists the active domains, or those that are asked for.",
     .examples = "vmferry list --all # every domain of this host\n"
                 "vmferry -c qemu+ssh://host2/system list --name # for scripts",
     .options = kOptions});
static_assert(well_formed(kList));

}  // namespace vmferry::cli
