// adopt: a QEMU that someone else started becomes a domain.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/drivers/qmp/qmp.hpp"

namespace vmferry::cli {

namespace {

struct Options {
  std::string socket, name;
  std::uint32_t pid = 0;
  bool dry_run = false;
};
constexpr Option kOptions[] = {
    option<&Options::socket>({.name = "qmp",
                              .metavar = "SOCKET",
                              .help = "its monitor: the unix socket of -qmp or -mon mode=control",
                              .complete = Complete::file,
                              .required = true}),
    option<&Options::pid>(
        {.name = "pid", .metavar = "PID", .help = "default: who listens on that socket"}),
    option<&Options::name>({.name = "name", .metavar = "NAME", .help = "default: as -name says"}),
    option<&Options::dry_run>({.name = "dry-run", .help = "only show what would be known of it"}),
};

std::string listed(std::string_view title, const std::vector<std::string>& sentences) {
  std::string text = sentences.empty() ? "" : fmt::format("{}\n", title);
  for (const std::string& one : sentences) text += fmt::format("  - {}\n", printable(one));
  return text;
}

Task<Exit> run(Context& context, Options o) {
  const std::unique_ptr<Host> host = co_await connect(context);
  AdoptOptions options{.socket = o.socket,
                       .pid = static_cast<std::int32_t>(o.pid),
                       .name = o.name,
                       .dry_run = o.dry_run};
  Task<AdoptReport> adopting = adopt(*host, std::move(options));
  const AdoptReport r = co_await std::move(adopting);
  std::string text = o.dry_run ? fmt::format("QEMU {}, {}\n", r.version, r.machine)
                               : fmt::format("Domain '{}' adopted: QEMU {}, {}\n",
                                             printable(r.domain.name), r.version, r.machine);
  Json facts = Json::array();
  for (const auto& [name, value] : r.facts) {
    text += fmt::format("  {:<12} {}\n", printable(name), printable(value));
    facts.push_back({{"name", name}, {"value", value}});
  }
  text += listed("It cannot be moved or upgraded, because another process would not be the same:",
                 r.cannot);
  text += listed("It can be upgraded but not moved, because elsewhere it would not be the same:",
                 r.here_only);
  text += listed("In another process this would differ:", r.remarks);
  print_result(context, text,
               {{"domain", r.domain.name},
                {"uuid", o.dry_run ? "" : to_string(r.domain.uuid)},
                {"qemu", r.version},
                {"machine", r.machine},
                {"facts", facts},
                {"cannot", r.cannot},
                {"here_only", r.here_only},
                {"remarks", r.remarks}});
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kAdopt = command<Options, run>(
    {.name = "adopt",
     .group = "Moving",
     .summary = "take over a QEMU that someone else started (bare QEMU)",
     .description =
         "Makes a running QEMU a domain of bare QEMU, which can then be moved and upgraded. "
         "Its command line, directory, descriptors, sockets, ports, pid file, disks and their "
         "locks are read from /proc and asked of its monitor; nothing is changed. What another "
         "process with this command line would not have is listed with the reason: such a guest "
         "can be listed, paused and ended, but is not moved.\n\n"
         "A monitor serves one client at a time: while vmferry works, other tools wait. The "
         "domain is gone when its process ends; `vmferry define --argv` keeps a definition.",
     .examples = "vmferry -c qmp:///session adopt --qmp /run/user/1000/web1.qmp\n"
                 "vmferry -c qmp:///system adopt --qmp /run/web1.qmp --dry-run # what is it?",
     .options = kOptions});
static_assert(well_formed(kAdopt));

}  // namespace vmferry::cli
