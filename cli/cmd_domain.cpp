// What a host says of one domain: dominfo, domstate, dumpxml.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::cli {

namespace {

struct Info {
  std::string domain;
};
constexpr Option kInfoDomain[] = {option<&Info::domain>(kDomain)};

Task<Exit> dominfo(Context& context, Info options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const DomainInfo info = co_await host->info(domain);
  const bool persistent = co_await host->is_persistent(domain);
  const bool autostart = co_await host->autostart(domain);
  const std::string xml = co_await host->dump_xml(domain, 0);
  const xml::Domain details = value_or_throw(xml::parse_domain(xml));
  const std::string uuid = to_string(domain.uuid);
  const std::string id = domain.id < 0 ? "-" : fmt::format("{}", domain.id);
  std::string text = labelled("Id", id) + labelled("Name", domain.name) + labelled("UUID", uuid) +
                     labelled("OS Type", details.os_type) +
                     labelled("State", state_text(info.state)) +
                     labelled("CPU(s)", fmt::format("{}", info.vcpus));
  const double seconds = static_cast<double>(info.cpu_time_ns) / 1e9;
  if (info.cpu_time_ns != 0) text += labelled("CPU time", fmt::format("{:.1f}s", seconds));
  text += labelled("Max memory", fmt::format("{} KiB", info.max_memory_kib)) +
          labelled("Used memory", fmt::format("{} KiB", info.memory_kib)) +
          labelled("Persistent", persistent ? "yes" : "no") +
          labelled("Autostart", autostart ? "enable" : "disable");
  const Json json = {{"id", domain.id < 0 ? Json() : Json(domain.id)},
                     {"name", domain.name},
                     {"uuid", uuid},
                     {"os_type", details.os_type},
                     {"state", state_text(info.state)},
                     {"vcpus", info.vcpus},
                     {"cpu_time_ns", info.cpu_time_ns},
                     {"max_memory_kib", info.max_memory_kib},
                     {"memory_kib", info.memory_kib},
                     {"persistent", persistent},
                     {"autostart", autostart}};
  print_result(context, text, json);
  co_await host->close();
  co_return Exit::done;
}

struct State {
  std::string domain;
  bool reason = false;
};
constexpr Option kStateDomain[] = {option<&State::domain>(kDomain)};
constexpr Option kStateOptions[] = {
    option<&State::reason>({.name = "reason", .help = "say also why it is in that state"})};

Task<Exit> domstate(Context& context, State options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const DomainStatus status = co_await host->status(domain);
  std::string text(state_text(status.state));
  if (options.reason) text += fmt::format(" ({})", reason_text(status));
  const Json json = {{"domain", domain.name},
                     {"state", state_text(status.state)},
                     {"reason", reason_text(status)}};
  print_result(context, text + "\n", json);
  co_await host->close();
  co_return Exit::done;
}

struct Dump {
  std::string domain;
  bool inactive = false, secure = false, update_cpu = false, migratable = false;
};
constexpr Option kDumpDomain[] = {option<&Dump::domain>(kDomain)};
constexpr Option kDumpOptions[] = {
    option<&Dump::inactive>(
        {.name = "inactive", .help = "the definition, not what runs at this moment"}),
    option<&Dump::secure>(
        {.name = "security-info", .help = "with passwords, for those who may see them"}),
    option<&Dump::update_cpu>(
        {.name = "update-cpu", .help = "with the guest's CPU as this host provides it"}),
    option<&Dump::migratable>({.name = "migratable", .help = "as another host can take it"}),
};

Task<Exit> dumpxml(Context& context, Dump o) {
  const std::uint32_t flags = (o.secure ? kXmlSecure : 0) | (o.inactive ? kXmlInactive : 0) |
                              (o.update_cpu ? kXmlUpdateCpu : 0) |
                              (o.migratable ? kXmlMigratable : 0);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  const std::string xml = co_await host->dump_xml(domain, flags);
  print_document(context, "xml", xml);
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kDominfo = command<Info, dominfo>(
    {.name = "dominfo",
     .group = "Domains",
     .summary = "show a domain's main facts",
     .description = "Shows state, CPUs, memory and whether the domain is persistent.",
     .positionals = kInfoDomain});
static_assert(well_formed(kDominfo));

extern constexpr Command kDomstate = command<State, domstate>(
    {.name = "domstate",
     .group = "Domains",
     .summary = "show a domain's state",
     .description = "Prints the state, and with --reason why it is so.",
     .examples = "vmferry domstate web1 --reason # \"paused (post-copy)\", …",
     .positionals = kStateDomain,
     .options = kStateOptions});
static_assert(well_formed(kDomstate));

extern constexpr Command kDumpxml =
    command<Dump, dumpxml>({.name = "dumpxml",
                            .group = "Domains",
                            .summary = "print a domain's XML",
                            .description = "Prints the domain's XML as its host gives it.",
                            .positionals = kDumpDomain,
                            .options = kDumpOptions});
static_assert(well_formed(kDumpxml));

}  // namespace vmferry::cli
