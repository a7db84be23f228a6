// What a host says of one domain: dominfo, domstate, dumpxml.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "cli/xml_output.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::cli {

namespace {

struct Info {
  std::string domain;
};
constexpr Option kInfoDomain[] = {option<&Info::domain>(kDomain)};

std::string extras_text(const DomainExtras& x) {
  std::string text = labelled("Managed save", x.managed_save ? "yes" : "no");
  if (!x.security_model.empty()) {
    text += labelled("Security model", x.security_model) + labelled("Security DOI", x.security_doi);
    if (!x.security_label.empty())
      text += labelled("Security label", fmt::format("{} ({})", x.security_label,
                                                     x.enforcing ? "enforcing" : "permissive"));
  }
  for (const std::string& message : x.messages) {
    const bool first = &message == &x.messages.front();
    text +=
        first ? labelled("Messages", message) : fmt::format("{:16}{}\n", "", printable(message));
  }
  return text;
}

Json extras_json(const DomainExtras& x, Json json) {
  json["managed_save"] = x.managed_save;
  if (!x.security_model.empty())
    json["security"] = {{"model", x.security_model},
                        {"doi", x.security_doi},
                        {"label", x.security_label},
                        {"enforcing", x.enforcing}};
  json["messages"] = x.messages;
  return json;
}

Task<Exit> dominfo(Context& context, Info options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  const DomainInfo info = co_await host->info(domain);
  const bool persistent = co_await host->is_persistent(domain);
  const bool autostart = co_await host->autostart(domain);
  const std::string xml = co_await host->dump_xml(domain, 0);
  const DomainExtras extras = co_await host->extras(domain);
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
          labelled("Autostart", autostart ? "enable" : "disable") + extras_text(extras);
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
  print_result(context, text, extras_json(extras, json));
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
  bool inactive = false, secure = false, update_cpu = false, migratable = false, wrap = false;
  std::string xpath;
  Result<> check() const { return XmlFilter{xpath, wrap}.check(); }
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
    option<&Dump::xpath>(kXpath),
    option<&Dump::wrap>(kWrap),
};

Task<Exit> dumpxml(Context& context, Dump o) {
  const std::uint32_t flags = (o.secure ? kXmlSecure : 0) | (o.inactive ? kXmlInactive : 0) |
                              (o.update_cpu ? kXmlUpdateCpu : 0) |
                              (o.migratable ? kXmlMigratable : 0);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  const std::string xml = co_await host->dump_xml(domain, flags);
  print_xml(context, "xml", xml, {o.xpath, o.wrap});
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kDominfo = command<Info, dominfo>(
    {.name = "dominfo",
     .group = "Domains",
     .summary = "show a domain's main facts",
     .description = "Shows state, CPUs, memory, whether the domain is persistent, and more.",
     .positionals = kInfoDomain});
static_assert(well_formed(kDominfo));

extern constexpr Command kDomstate = command<State, domstate>(
    {.name = "domstate",
     .group = "Domains",
     .summary = "show a domain's state",
     .description = "Prints the state, and with --reason why it is so.",
     .examples =
         "vmferry domstate web1 --reason # \"running (migrated)\", \"paused (post-copy)\", …",
     .positionals = kStateDomain,
     .options = kStateOptions});
static_assert(well_formed(kDomstate));

extern constexpr Command kDumpxml =
    command<Dump, dumpxml>({.name = "dumpxml",
                            .group = "Domains",
                            .summary = "print a domain's XML",
                            .description = "Prints the domain's XML as its host gives it.",
                            .examples = "vmferry dumpxml web1 --xpath //disk/source # its disks",
                            .positionals = kDumpDomain,
                            .options = kDumpOptions});
static_assert(well_formed(kDumpxml));

}  // namespace vmferry::cli
