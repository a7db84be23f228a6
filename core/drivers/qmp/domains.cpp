// Domains: look-up, state, life cycle.
#include <fmt/format.h>

#include <algorithm>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::uint32_t kStartPaused = 1, kStartBypassCache = 4, kStartForceBoot = 8;
constexpr std::uint32_t kDestroyGraceful = 1, kDestroyRemoveLogs = 2;
constexpr std::int32_t kPausedIoError = 5;

DomainStatus from_runstate(const std::string& word) {
  using enum DomainState;
  if (word == "running") return {running, 1};
  if (word == "paused") return {paused, kPausedUser};
  if (word == "io-error") return {paused, kPausedIoError};
  if (word == "prelaunch") return {paused, kPausedStartingUp};
  if (word == "suspended") return {pmsuspended, 0};
  if (word == "shutdown") return {shutdown, 0};
  if (word == "guest-panicked" || word == "internal-error") return {crashed, 0};
  if (word == "colo" || word == "debug" || word == "watchdog") return {paused, 0};
  return {paused, kPausedMigration};  // inmigrate, finish-migrate, postmigrate, save-vm, …
}

Error no_domain(const std::string& text) {
  return Error(ErrorId::no_domain, fmt::format("no domain '{}'", escaped(text)));
}

}  // namespace

Task<DomainRef> QmpHost::find(std::string text) {
  const std::vector<Instance> running = store_.instances();
  const auto pid = parse_number<std::int32_t>(text);
  for (const Instance& i : running)
    if (pid && i.process.pid == *pid && i.stage == Stage::active) co_return ref(i);
  const std::vector<Definition> defined = store_.definitions();
  const auto uuid = text.size() == 36 ? parse_uuid(text) : std::nullopt;
  const auto matches = [&](const Uuid& u, const std::string& name) {
    return uuid ? u == *uuid : name == text;
  };
  std::optional<DomainRef> found;
  for (const Instance& i : running)
    if (matches(i.uuid, i.name) && (!found || i.stage == Stage::active)) found = ref(i);
  for (const Definition& d : defined)
    if (!found && matches(d.uuid, d.name)) found = DomainRef{d.name, d.uuid, -1};
  if (!found) throw no_domain(text);
  co_return *found;
}

Task<std::vector<ListedDomain>> QmpHost::list(bool want_active, bool want_inactive) {
  std::vector<ListedDomain> out;
  std::vector<Uuid> seen;
  for (const Instance& i : store_.instances()) {
    if (std::ranges::find(seen, i.uuid) != seen.end()) continue;
    seen.push_back(i.uuid);
    if (!want_active) continue;
    const Instance shown = instance(i.uuid).value_or(i);
    Task<DomainStatus> asking = status_of(shown);
    const auto status = co_await settle(std::move(asking));
    out.push_back({ref(shown), status ? *status : DomainStatus{}});
  }
  if (!want_inactive) co_return out;
  for (const Definition& d : store_.definitions())
    if (std::ranges::find(seen, d.uuid) == seen.end())
      out.push_back({{d.name, d.uuid, -1}, {DomainState::shutoff, 0}});
  co_return out;
}

Task<DomainStatus> QmpHost::status_of(const Instance& i) {
  if (i.stage == Stage::incoming) co_return DomainStatus{DomainState::paused, kPausedMigration};
  std::shared_ptr<Client> client = co_await monitor(i);
  const Json answer = co_await client->execute("query-status");
  DomainStatus status = from_runstate(text_at(answer, "status"));
  const bool by_user = status.state == DomainState::paused && status.reason == kPausedUser;
  if (by_user && i.held) status.reason = kPausedMigration;
  if (status.runs() && !i.migration.empty()) status.reason = kRunningMigrated;
  if (i.postcopy) {
    Task<std::string> asking = migration_status(*client);
    const std::string word = co_await std::move(asking);
    const bool broken = word == "postcopy-paused";
    if (status.runs())
      status.reason = broken              ? kRunningPostcopyFailed
                      : in_postcopy(word) ? kRunningPostcopy
                                          : status.reason;
    else if (in_postcopy(word))
      status = {DomainState::paused, broken ? kPausedPostcopyFailed : kPausedPostcopy};
  }
  co_return status;
}

Task<DomainStatus> QmpHost::status(const DomainRef& domain) {
  if (const auto beginner = beginners_.extract(domain.uuid)) {
    const auto& [running, went] = beginner.mapped();
    const auto lives = co_await settle(watch(running, went));
    if (!lives) notice(lives.error().message);
  }
  const std::optional<Instance> i = instance(domain.uuid);
  if (!i) {
    if (!store_.definition(domain.uuid)) throw no_domain(domain.name);
    co_return DomainStatus{DomainState::shutoff, 0};
  }
  Task<DomainStatus> asking = status_of(*i);
  const auto status = co_await settle(std::move(asking));
  if (status) co_return *status;
  // One that was killed closes its monitor first, and ends a moment later.
  const bool going = status.error().id == ErrorId::connect_lost;
  const Micros patience = going ? std::chrono::seconds(5) : Micros(1);
  const bool ended = co_await ended_within(i->process, env_.clock, patience);
  if (!ended) throw Error(status.error());
  drop_monitor(*i);
  if (!store_.definition(domain.uuid)) throw no_domain(domain.name);
  co_return DomainStatus{DomainState::shutoff, 0};
}

Task<DomainInfo> QmpHost::info(const DomainRef& domain) {
  const DomainStatus now = co_await status(domain);
  const std::optional<Instance> i = instance(domain.uuid);
  const std::optional<Definition> defined = store_.definition(domain.uuid);
  const Result<Definition> d = i ? read_definition(i->xml) : Result<Definition>(*defined);
  DomainInfo info;
  info.state = now.state;
  if (d) info.max_memory_kib = info.memory_kib = d->memory_kib;
  if (d) info.vcpus = d->vcpus;
  co_return info;
}

Task<bool> QmpHost::is_persistent(const DomainRef& domain) {
  co_return store_.definition(domain.uuid).has_value();
}

Task<bool> QmpHost::autostart(const DomainRef&) { co_return false; }

Task<std::string> QmpHost::dump_xml(const DomainRef& domain, std::uint32_t xml_flags) {
  const std::optional<Instance> i = instance(domain.uuid);
  const std::optional<Definition> defined = store_.definition(domain.uuid);
  if (defined && (!i || (xml_flags & kXmlInactive) != 0)) co_return defined->xml;
  if (!i) throw no_domain(domain.name);
  co_return i->xml;
}

Task<DomainRef> QmpHost::define(std::string xml, DefineFlags) {
  const Definition d = value_or_throw(read_definition(xml));
  for (const Definition& other : store_.definitions())
    if (other.name == d.name && other.uuid != d.uuid)
      throw Error(ErrorId::exists, fmt::format("domain '{}' is defined already, with UUID {}",
                                               escaped(d.name), to_string(other.uuid)));
  store_.save(d);
  co_return DomainRef{d.name, d.uuid, -1};
}

// There is never a managed save, a snapshot record, NVRAM or TPM state of ours to remove.
Task<> QmpHost::undefine(const DomainRef& domain, std::uint32_t) {
  if (!store_.definition(domain.uuid)) throw no_domain(domain.name);
  store_.forget(domain.uuid);
  co_return;
}

Task<> QmpHost::start(const DomainRef& domain, std::uint32_t flags) {
  if ((flags & ~(kStartPaused | kStartBypassCache | kStartForceBoot)) != 0)
    throw Error(ErrorId::unsupported, "bare QEMU has no such way to start");
  const Fd lock = store_.lock_domain(domain.uuid);
  const std::optional<Definition> d = store_.definition(domain.uuid);
  if (!d) throw no_domain(domain.name);
  if (instance(domain.uuid))
    throw Error(ErrorId::invalid_state,
                fmt::format("domain '{}' is running already", escaped(domain.name)));
  NewProcess process{.name = d->name, .uuid = d->uuid, .xml = d->xml, .argv = d->argv};
  const Ram ram = ram_of(d->argv);
  if (ram.own.empty() && !d->private_ram) {
    process.memory = make_memory(kMemoryName, ram.bytes);
    process.shared_ram = ram.bytes;
  }
  Task<Instance> launching = launch(std::move(process), false);
  Instance i = co_await std::move(launching);
  std::shared_ptr<Client> client = co_await monitor(i);
  const std::string machine = co_await real_machine(*client);
  pin_machine(i.argv, machine);
  store_.save(i);
  co_await came_up(i);
  if ((flags & kStartPaused) != 0) co_return;
  Task<Json> going = client->execute("cont");
  const auto went = co_await settle(std::move(going));
  if (went) co_return;
  co_await end(i);
  throw Error(went.error());
}

Task<> QmpHost::suspend(const DomainRef& domain) {
  Instance i = active(domain);
  if (i.stage != Stage::active)
    throw Error(ErrorId::invalid_state, "the guest is not running here");
  std::shared_ptr<Client> client = co_await monitor(i);
  co_await client->execute("stop");
}

Task<> QmpHost::resume(const DomainRef& domain) {
  Instance i = active(domain);
  if (i.stage == Stage::handed_over)
    throw Error(ErrorId::invalid_state,
                "the memory of this copy was handed over to another QEMU, which may have run: it "
                "must never run again")
        .advise("Look for the other process; destroy this one.");
  if (i.stage == Stage::incoming)
    throw Error(ErrorId::invalid_state, "the guest is still coming in");
  if (i.postcopy && i.held)
    throw Error(ErrorId::invalid_state,
                "this is what a post-copy has left: the guest runs on the destination")
        .advise("Repeat the migration with --postcopy-resume if it broke; else destroy this copy.");
  std::shared_ptr<Client> client = co_await monitor(i);
  co_await client->execute("cont");
  if (!i.held) co_return;
  i.held = false;
  store_.save(i);
}

Task<> QmpHost::shutdown(const DomainRef& domain) {
  Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  co_await client->execute("system_powerdown");
}

Task<> QmpHost::destroy(const DomainRef& domain, std::uint32_t flags) {
  Instance i = active(domain);
  if ((flags & kDestroyGraceful) != 0) {
    std::shared_ptr<Client> client = co_await monitor(i);
    Task<Json> asking = client->execute("quit");
    const auto asked = co_await settle(std::move(asking));
    const bool ended = co_await ended_within(i.process, env_.clock, std::chrono::seconds(10));
    if (!ended)
      throw Error(ErrorId::busy,
                  fmt::format("QEMU does not end when asked to{}{}", asked ? "" : ": ",
                              asked ? "" : asked.error().message));
  }
  Task<> ending = end(i);
  co_await std::move(ending);
  if ((flags & kDestroyRemoveLogs) != 0) remove_all(store_.log_of(domain.uuid));
}

}  // namespace vmferry::qmp
