// list: the domains of a host.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  bool all = false, inactive = false, name = false, uuid = false, id = false, table = false;
  bool running = false, paused = false, shutoff = false, other = false;
  bool persistent = false, transient = false, autostart = false, no_autostart = false;
  bool snapshot = false, no_snapshot = false, checkpoint = false, no_checkpoint = false;
  bool managed = false, no_managed = false, mark_managed = false, title = false;
  Result<> check() const {
    if (table && plain()) return fail(ErrorId::usage, "--table excludes --name, --uuid and --id");
    return {};
  }
  bool plain() const { return name || uuid || id; }
  std::uint32_t flags() const;
};

// As virsh: active domains, unless something else is asked for.
std::uint32_t Options::flags() const {
  std::uint32_t flags = 0;
  const auto add = [&](bool wanted, std::uint32_t bit) { flags |= wanted ? bit : 0; };
  const bool of_active = running || paused || other;
  add(all || inactive || shutoff, listing::inactive);
  add(all || (!inactive && (!shutoff || of_active)), listing::active);
  add(running, listing::running);
  add(paused, listing::paused);
  add(shutoff, listing::shutoff);
  add(other, listing::other);
  add(persistent, listing::persistent);
  add(transient, listing::transient);
  add(autostart, listing::autostart);
  add(no_autostart, listing::no_autostart);
  add(snapshot, listing::snapshot);
  add(no_snapshot, listing::no_snapshot);
  add(checkpoint, listing::checkpoint);
  add(no_checkpoint, listing::no_checkpoint);
  add(managed, listing::managed_save);
  add(no_managed, listing::no_managed_save);
  return flags;
}

// Active ones by id, then the others by name, as virsh sorts them.
bool before(const ListedDomain& a, const ListedDomain& b) {
  const bool active_a = a.domain.id >= 0, active_b = b.domain.id >= 0;
  if (active_a != active_b) return active_a;
  return active_a ? a.domain.id < b.domain.id : a.domain.name < b.domain.name;
}

std::string id_text(const DomainRef& d) { return d.id < 0 ? "-" : fmt::format("{}", d.id); }

/// A line of --name, --uuid, --id. Ids alone are those of active domains.
std::string columns(const Options& options, const DomainRef& d) {
  if (options.id && !options.uuid && !options.name && d.id < 0) return {};
  std::vector<std::string> parts;
  if (options.uuid) parts.push_back(to_string(d.uuid));
  if (options.id) parts.push_back(id_text(d));
  if (options.name) parts.push_back(printable(d.name));
  return fmt::format("{}\n", fmt::join(parts, " "));
}

struct Row {
  ListedDomain listed;
  std::string state, title;
};

Task<Row> look(Host& host, ListedDomain listed, const Options& options) {
  Row row{listed, std::string(state_text(listed.status.state)), {}};
  if (options.mark_managed && listed.status.state == DomainState::shutoff) {
    const auto saved = co_await settle(host.has_managed_save(listed.domain));
    if (saved && *saved) row.state = "saved";
  }
  if (options.title) {
    const auto xml = co_await settle(host.dump_xml(listed.domain, 0));
    const Result<xml::Doc> doc = xml ? xml::Doc::parse(*xml) : fail(ErrorId::xml, "");
    if (doc) row.title = doc->root().at("title").text();
  }
  co_return row;
}

Json to_json(const Row& row, const Options& options) {
  const DomainRef& d = row.listed.domain;
  Json json = {{"id", d.id < 0 ? Json() : Json(d.id)},
               {"name", d.name},
               {"uuid", to_string(d.uuid)},
               {"state", row.state},
               {"reason", reason_text(row.listed.status)}};
  if (options.title) json["title"] = row.title;
  return json;
}

Task<Exit> list(Context& context, Options options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  std::vector<ListedDomain> domains = co_await host->list_matching(options.flags());
  std::ranges::sort(domains, before);

  std::vector<std::string> head = {"Id", "Name", "State"};
  if (options.title) head.emplace_back("Title");
  Table table(head);
  std::string lines;
  Json json = Json::array();
  for (const ListedDomain& d : domains) {
    Task<Row> looking = look(*host, d, options);
    const Row row = co_await std::move(looking);
    table.add({id_text(d.domain), d.domain.name, row.state, row.title});
    lines += columns(options, d.domain);
    json.push_back(to_json(row, options));
  }
  print_result(context, options.plain() ? lines : table.text(), json);
  co_await host->close();
  co_return Exit::done;
}

constexpr Option kOptions[] = {
    option<&Options::all>({.name = "all", .help = "active and inactive domains"}),
    option<&Options::inactive>({.name = "inactive", .help = "inactive domains only"}),
    option<&Options::running>(
        {.name = "state-running", .help = "domains that run", .group = "Only"}),
    option<&Options::paused>(
        {.name = "state-paused", .help = "domains that are paused", .group = "Only"}),
    option<&Options::shutoff>(
        {.name = "state-shutoff", .help = "domains that are shut off", .group = "Only"}),
    option<&Options::other>(
        {.name = "state-other", .help = "domains in any other state", .group = "Only"}),
    option<&Options::persistent>(
        {.name = "persistent", .help = "domains that are defined", .group = "Only"}),
    option<&Options::transient>(
        {.name = "transient", .help = "domains that are gone once they stop", .group = "Only"}),
    option<&Options::autostart>(
        {.name = "autostart", .help = "domains that start with the host", .group = "Only"}),
    option<&Options::no_autostart>(
        {.name = "no-autostart", .help = "domains that do not", .group = "Only"}),
    option<&Options::snapshot>(
        {.name = "with-snapshot", .help = "domains with snapshots", .group = "Only"}),
    option<&Options::no_snapshot>(
        {.name = "without-snapshot", .help = "domains without", .group = "Only"}),
    option<&Options::checkpoint>(
        {.name = "with-checkpoint", .help = "domains with checkpoints", .group = "Only"}),
    option<&Options::no_checkpoint>(
        {.name = "without-checkpoint", .help = "domains without", .group = "Only"}),
    option<&Options::managed>(
        {.name = "with-managed-save", .help = "domains with saved memory", .group = "Only"}),
    option<&Options::no_managed>(
        {.name = "without-managed-save", .help = "domains without", .group = "Only"}),
    option<&Options::name>({.name = "name", .help = "names", .group = "Shown"}),
    option<&Options::uuid>({.name = "uuid", .help = "UUIDs", .group = "Shown"}),
    option<&Options::id>({.name = "id", .help = "ids", .group = "Shown"}),
    option<&Options::table>({.name = "table", .help = "a table (the default)", .group = "Shown"}),
    option<&Options::title>({.name = "title", .help = "titles too", .group = "Shown"}),
    option<&Options::mark_managed>(
        {.name = "managed-save", .help = "\"saved\" as a state of its own", .group = "Shown"}),
};

}  // namespace

extern constexpr Command kList = command<Options, list>(
    {.name = "list",
     .group = "Domains",
     .summary = "list the domains of a host",
     .description = "Lists the active domains, or those that are asked for.",
     .examples = "vmferry list --all # every domain of this host\n"
                 "vmferry -c qemu+ssh://host2/system list --name # for scripts\n"
                 "vmferry list --inactive --persistent --title # what could be started",
     .options = kOptions});
static_assert(well_formed(kList));

}  // namespace vmferry::cli
