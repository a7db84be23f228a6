// The life of a domain: define, undefine, start, suspend, resume, shutdown, destroy.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::cli {

namespace {

// virDomainUndefineFlags, virDomainCreateFlags, virDomainDestroyFlags (libvirt-domain.h).
constexpr std::uint32_t kManagedSave = 1, kSnapshots = 2, kNvram = 4, kKeepNvram = 8,
                        kCheckpoints = 16, kTpm = 32, kKeepTpm = 64;
constexpr std::uint32_t kPaused = 1, kBypassCache = 4, kForceBoot = 8, kResetNvram = 32;
constexpr std::uint32_t kGraceful = 1, kRemoveLogs = 2;

void done(Context& context, const DomainRef& domain, std::string_view what) {
  print_result(context, fmt::format("Domain '{}' {}\n", printable(domain.name), what),
               {{"domain", domain.name}, {"uuid", to_string(domain.uuid)}, {"result", what}});
}

// -- commands that only name a domain -----------------------------------------------------------

struct Named {
  std::string domain;
};
constexpr Option kNamedActive[] = {option<&Named::domain>(kActiveDomain)};

struct Suspend {
  static constexpr std::string_view what = "suspended";
  static Task<> act(Host& host, const DomainRef& d) { return host.suspend(d); }
};
struct Resume {
  static constexpr std::string_view what = "resumed";
  static Task<> act(Host& host, const DomainRef& d) { return host.resume(d); }
};
template <class Action>
Task<Exit> act(Context& context, Named options) {
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(options.domain);
  co_await Action::act(*host, domain);
  done(context, domain, Action::what);
  co_await host->close();
  co_return Exit::done;
}

// -- shutdown -----------------------------------------------------------------------------------

struct Mode {
  std::string_view word;
  std::uint32_t bit;
};
constexpr Mode kModes[] = {{"acpi", kShutdownAcpi},
                           {"agent", kShutdownAgent},
                           {"initctl", kShutdownInitctl},
                           {"signal", kShutdownSignal},
                           {"paravirt", kShutdownParavirt}};

Result<std::uint32_t> parse_modes(std::string_view text) {
  std::uint32_t bits = 0;
  for (const std::string_view word : split(text, ',')) {
    const auto* const mode =
        std::ranges::find_if(kModes, [&](const Mode& m) { return m.word == word; });
    if (mode == std::end(kModes))
      return fail(
          ErrorId::usage,
          fmt::format("--mode: '{}' is not acpi, agent, initctl, signal or paravirt", word));
    bits |= mode->bit;
  }
  return bits;
}

struct Shutdown {
  std::string domain, mode;
  Result<> check() const {
    const Result<std::uint32_t> bits = mode.empty() ? Result<std::uint32_t>(0) : parse_modes(mode);
    return bits ? Result<>() : std::unexpected(bits.error());
  }
};
constexpr Option kShutdownDomain[] = {option<&Shutdown::domain>(kActiveDomain)};
constexpr Option kShutdownOptions[] = {option<&Shutdown::mode>(
    {.name = "mode",
     .metavar = "MODE,...",
     .help = "how: acpi, agent, initctl, signal, paravirt; the host tries them in turn"})};

Task<Exit> shutdown(Context& context, Shutdown o) {
  const std::uint32_t modes = o.mode.empty() ? 0 : value_or_throw(parse_modes(o.mode));
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  co_await host->shutdown_by(domain, modes);
  done(context, domain, "is being shutdown");
  co_await host->close();
  co_return Exit::done;
}

// -- start, destroy -----------------------------------------------------------------------------

struct Start {
  std::string domain;
  bool paused = false, bypass_cache = false, force_boot = false, reset_nvram = false;
};
constexpr Option kStartDomain[] = {
    option<&Start::domain>({.name = "domain",
                            .metavar = "DOMAIN",
                            .help = "name or UUID of an inactive domain",
                            .complete = Complete::inactive_domain,
                            .required = true})};
constexpr Option kStartOptions[] = {
    option<&Start::paused>({.name = "paused", .help = "leave the guest paused"}),
    option<&Start::bypass_cache>(
        {.name = "bypass-cache",
         .help = "avoid the file system's cache when loading saved memory"}),
    option<&Start::force_boot>({.name = "force-boot", .help = "discard any managed save"}),
    option<&Start::reset_nvram>(
        {.name = "reset-nvram", .help = "make the NVRAM anew from its template"}),
    refused("console", "", "vmferry has no console; use `virsh console` once it runs"),
    refused("autodestroy", "",
            "the guest would end with vmferry's connection, and so with this command"),
    refused("pass-fds", "N,M,...", "vmferry hands no open files to a host"),
};

Task<Exit> start(Context& context, Start o) {
  const std::uint32_t flags = (o.paused ? kPaused : 0) | (o.bypass_cache ? kBypassCache : 0) |
                              (o.force_boot ? kForceBoot : 0) | (o.reset_nvram ? kResetNvram : 0);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  co_await host->start(domain, flags);
  done(context, domain, "started");
  co_await host->close();
  co_return Exit::done;
}

struct Destroy {
  std::string domain;
  bool graceful = false, remove_logs = false;
};
constexpr Option kDestroyDomain[] = {option<&Destroy::domain>(kActiveDomain)};
constexpr Option kDestroyOptions[] = {
    option<&Destroy::graceful>(
        {.name = "graceful", .help = "fail rather than kill a hypervisor that does not end"}),
    option<&Destroy::remove_logs>({.name = "remove-logs", .help = "remove the domain's logs"}),
};

Task<Exit> destroy(Context& context, Destroy o) {
  const std::uint32_t flags = (o.graceful ? kGraceful : 0) | (o.remove_logs ? kRemoveLogs : 0);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  co_await host->destroy(domain, flags);
  done(context, domain, "destroyed");
  co_await host->close();
  co_return Exit::done;
}

// -- define, undefine ---------------------------------------------------------------------------

struct Define {
  std::string file, name;
  bool validate = false, command_line = false;
  Result<> check() const {
    if (!name.empty() && !command_line)
      return fail(ErrorId::usage, "--name goes with --argv; an XML says the name itself");
    return {};
  }
};
constexpr Option kDefineFile[] = {
    option<&Define::file>({.name = "file",
                           .metavar = "FILE",
                           .help = "the domain's XML; - is standard input",
                           .complete = Complete::file,
                           .required = true})};
constexpr Option kDefineOptions[] = {
    option<&Define::validate>(
        {.name = "validate", .help = "let the host check the XML against its schema"}),
    option<&Define::command_line>(
        {.name = "argv", .help = "FILE is a plain QEMU command line (bare QEMU only)"}),
    option<&Define::name>({.name = "name",
                           .metavar = "NAME",
                           .help = "with --argv: the name, if -name is not there"}),
};

std::string read_file(const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path, std::ios::binary);
  std::istream& in = path == "-" ? std::cin : file;
  if (!in) throw Error(ErrorId::not_found, fmt::format("{} cannot be read", printable(path)));
  std::string text(xml::kMostBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

Task<Exit> define(Context& context, Define o) {
  std::string text = read_file(o.file);
  if (o.command_line) text = value_or_throw(qmp_domain_xml(text, o.name));
  const Result<xml::Doc> checked = xml::Doc::parse(text);
  if (!checked) throw Error(checked.error()).note(o.file);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DefineFlags flags = o.validate ? DefineFlags::validate : DefineFlags::none;
  const DomainRef domain = co_await host->define(std::move(text), flags);
  done(context, domain, "defined from " + printable(o.file));
  co_await host->close();
  co_return Exit::done;
}

struct Undefine {
  std::string domain;
  bool managed_save = false, snapshots = false, checkpoints = false, nvram = false,
       keep_nvram = false, tpm = false, keep_tpm = false;
  Result<> check() const {
    if (nvram && keep_nvram)
      return fail(ErrorId::usage, "--nvram and --keep-nvram exclude each other");
    if (tpm && keep_tpm) return fail(ErrorId::usage, "--tpm and --keep-tpm exclude each other");
    return {};
  }
};
constexpr std::string_view kNoStorage =
    "vmferry moves guests and never deletes their disks; use `virsh vol-delete`";
constexpr Option kUndefineDomain[] = {option<&Undefine::domain>(kDomain)};
constexpr Option kUndefineOptions[] = {
    option<&Undefine::managed_save>(
        {.name = "managed-save", .help = "remove its saved memory as well"}),
    option<&Undefine::snapshots>(
        {.name = "snapshots-metadata", .help = "remove the records of its snapshots as well"}),
    option<&Undefine::checkpoints>(
        {.name = "checkpoints-metadata", .help = "remove the records of its checkpoints as well"}),
    option<&Undefine::nvram>({.name = "nvram", .help = "remove its NVRAM file as well"}),
    option<&Undefine::keep_nvram>({.name = "keep-nvram", .help = "keep its NVRAM file"}),
    option<&Undefine::tpm>({.name = "tpm", .help = "remove its TPM state as well"}),
    option<&Undefine::keep_tpm>({.name = "keep-tpm", .help = "keep its TPM state"}),
    refused("storage", "VOLUMES", kNoStorage),
    refused("remove-all-storage", "", kNoStorage),
    refused("delete-storage-volume-snapshots", "", kNoStorage),
    refused("wipe-storage", "", kNoStorage),
};

Task<Exit> undefine(Context& context, Undefine o) {
  const std::uint32_t flags = (o.managed_save ? kManagedSave : 0) | (o.snapshots ? kSnapshots : 0) |
                              (o.checkpoints ? kCheckpoints : 0) | (o.nvram ? kNvram : 0) |
                              (o.keep_nvram ? kKeepNvram : 0) | (o.tpm ? kTpm : 0) |
                              (o.keep_tpm ? kKeepTpm : 0);
  const std::unique_ptr<Host> host = co_await connect(context);
  const DomainRef domain = co_await host->find(o.domain);
  co_await host->undefine(domain, flags);
  done(context, domain, "has been undefined");
  co_await host->close();
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kDefine = command<Define, define>(
    {.name = "define",
     .group = "Domains",
     .summary = "make a domain known to a host from its XML",
     .description = "Defines a domain, or changes the definition of one that exists. It is not "
                    "started.",
     .positionals = kDefineFile,
     .options = kDefineOptions});
static_assert(well_formed(kDefine));

extern constexpr Command kUndefine = command<Undefine, undefine>(
    {.name = "undefine",
     .group = "Domains",
     .summary = "make a host forget a domain",
     .description = "Removes the definition of an inactive domain; an active one goes on until it "
                    "ends, and is then forgotten. Its disks stay.",
     .positionals = kUndefineDomain,
     .options = kUndefineOptions});
static_assert(well_formed(kUndefine));

extern constexpr Command kStart =
    command<Start, start>({.name = "start",
                           .group = "Domains",
                           .summary = "start a defined domain",
                           .description = "Starts an inactive domain, from its managed save if "
                                          "there is one.",
                           .positionals = kStartDomain,
                           .options = kStartOptions});
static_assert(well_formed(kStart));

extern constexpr Command kSuspend = command<Named, act<Suspend>>(
    {.name = "suspend",
     .group = "Domains",
     .summary = "pause a running domain",
     .description = "Stops the guest's CPUs. Its memory stays where it is.",
     .positionals = kNamedActive});
static_assert(well_formed(kSuspend));

extern constexpr Command kResume = command<Named, act<Resume>>(
    {.name = "resume",
     .group = "Domains",
     .summary = "let a paused domain go on",
     .description = "Lets a suspended guest go on. Never do this to the copy that a migration left "
                    "behind: `vmferry migrate` says which one that is.",
     .positionals = kNamedActive});
static_assert(well_formed(kResume));

extern constexpr Command kShutdown = command<Shutdown, shutdown>(
    {.name = "shutdown",
     .group = "Domains",
     .summary = "ask the guest to shut down",
     .description = "Asks the guest to shut down, and does not wait until it has.",
     .positionals = kShutdownDomain,
     .options = kShutdownOptions});
static_assert(well_formed(kShutdown));

extern constexpr Command kDestroy = command<Destroy, destroy>(
    {.name = "destroy",
     .group = "Domains",
     .summary = "end a domain at once",
     .description = "Ends the domain as if its power was cut. Its definition and disks stay.",
     .positionals = kDestroyDomain,
     .options = kDestroyOptions});
static_assert(well_formed(kDestroy));

}  // namespace vmferry::cli
