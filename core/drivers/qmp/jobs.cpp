// Jobs: figures, limits, abort; and events.
#include <fmt/format.h>

#include <asio/co_spawn.hpp>
#include <map>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

// A QEMU whose peer hangs in the switch-over may not answer at all; then nobody may wait for it
// longer than a guest may stand still.
static constexpr Micros kPatience = std::chrono::seconds(2);

Task<JobStats> QmpHost::job_stats(const DomainRef& domain, bool completed, bool) {
  if (completed) {
    const auto kept = completed_.find(domain.uuid);
    co_return kept == completed_.end() ? JobStats{} : kept->second;
  }
  const Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  const Json info = co_await client->execute("query-migrate", Json::object(), kPatience);
  JobStats stats = to_stats(info);
  const Json jobs = co_await client->execute("query-block-jobs", Json::object(), kPatience);
  if (add_disk_figures(jobs, stats.fields)) stats.type = JobType::unbounded;
  co_return stats;
}

// Nothing if there is no answer.
static Task<std::optional<Json>> ask(Client& client, std::string command) {
  Task<Json> asking = client.execute(std::move(command), Json::object(), kPatience);
  auto asked = co_await settle(std::move(asking));
  if (asked) co_return *std::move(asked);
  if (asked.error().id != ErrorId::timed_out) throw std::move(asked).error();
  co_return std::nullopt;
}

static Task<> yank(Client& client) {
  Json instances = {{"instances", Json::array({{{"type", "migration"}}})}};
  co_await client.execute_oob("yank", std::move(instances));
}

// Whether QEMU has given up in a moment.
static Task<bool> gives_up(Client& client, Clock& clock) {
  const Micros until = clock.now() + kPatience;
  while (clock.now() < until) {
    const auto info = co_await ask(client, "query-migrate");
    if (info && to_stats(*info).type != JobType::unbounded) co_return true;
    co_await clock.sleep(Millis(20));
  }
  co_return false;
}

// QEMU 7.2 that is told to cancel while its channels open often cancels for ever, hardly ever later
// (see kNeverCancelled). To yank it then is no way out: it may keep the yank instance, and refuse
// every later migration.
static Task<> wait_set_up(Client& client, Clock& clock) {
  const Micros until = clock.now() + kPatience;
  while (clock.now() < until) {
    const auto info = co_await ask(client, "query-migrate");
    if (info && text_at(*info, "status") != "setup") co_return;
    co_await clock.sleep(Millis(5));
  }
}

// A QEMU that hangs in the switch-over answers out-of-band commands only.
static Task<> end_migration(Client& client, Clock& clock) {
  bool over = false;
  co_await wait_set_up(client, clock);
  const auto told = co_await ask(client, "migrate_cancel");
  if (told) over = co_await gives_up(client, clock);
  if (over) co_return;
  const auto yanked = co_await settle(yank(client));
  if (yanked) over = co_await gives_up(client, clock);
  if (over) co_return;
  Error error(ErrorId::timed_out, fmt::format("QEMU {} was told to cancel the migration, and does "
                                              "not bring that to an end",
                                              client.version_text()));
  if (!yanked) error.note(yanked.error().message);
  throw std::move(error).advise(kNeverCancelled);
}

Task<> QmpHost::abort_job(const DomainRef& domain, bool postcopy) {
  const Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  // QEMU 7.2 would take it, and lose the guest.
  if (i.postcopy && !postcopy)
    throw Error(ErrorId::invalid_state,
                "after the switch to post-copy the guest is on both hosts: there is no way back")
        .advise("`vmferry domjobabort --postcopy` breaks the connection, to be resumed later.");
  if (postcopy) {
    co_await client->execute_oob("migrate-pause", Json::object());
    co_return;
  }
  mark_aborted(i);
  const auto info = co_await ask(*client, "query-migrate");
  if (!info) {
    co_await yank(*client);
    co_return;
  }
  const JobStats now = to_stats(*info);
  if (now.type != JobType::unbounded) {
    const Json jobs = co_await client->execute("query-block-jobs");
    Params unused;
    if (add_disk_figures(jobs, unused)) {
      Task<> dropping = drop_mirrors(*client);
      co_await std::move(dropping);
      co_return;
    }
  }
  if (now.type != JobType::unbounded)
    throw Error(ErrorId::invalid_state, "no migration of this domain is under way");
  Task<> ending = end_migration(*client, env_.clock);
  co_await std::move(ending);
}

Task<> QmpHost::set_parameters(const DomainRef& domain, Json parameters) {
  const Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  co_await client->execute("migrate-set-parameters", std::move(parameters));
}

Task<Json> QmpHost::parameters(const DomainRef& domain) {
  const Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  Json now = co_await client->execute("query-migrate-parameters");
  co_return now;
}

// Limits are for the next migration, too.
Task<> QmpHost::set_max_downtime(const DomainRef& domain, std::uint64_t ms) {
  co_await set_parameters(domain, {{"downtime-limit", ms}});
  Instance i = active(domain);
  i.downtime = ms;
  store_.save(i);
}
Task<std::uint64_t> QmpHost::max_downtime(const DomainRef& domain) {
  const Json now = co_await parameters(domain);
  co_return static_cast<std::uint64_t>(number_at(now, "downtime-limit"));
}

Task<> QmpHost::set_max_speed(const DomainRef& domain, std::uint64_t mib, bool postcopy) {
  const std::uint64_t bytes = std::min(mib, std::uint64_t{1} << 40) << 20;
  const char* field = postcopy ? "max-postcopy-bandwidth" : "max-bandwidth";
  co_await set_parameters(domain, {{field, bytes}});
  if (postcopy) co_return;
  Instance i = active(domain);
  i.speed = bytes;
  store_.save(i);
}
Task<std::uint64_t> QmpHost::max_speed(const DomainRef& domain, bool postcopy) {
  const Json now = co_await parameters(domain);
  const char* field = postcopy ? "max-postcopy-bandwidth" : "max-bandwidth";
  co_return static_cast<std::uint64_t>(number_at(now, field)) >> 20;
}

Task<> QmpHost::set_compression_cache(const DomainRef& domain, std::uint64_t bytes) {
  return set_parameters(domain, {{"xbzrle-cache-size", bytes}});
}
Task<std::uint64_t> QmpHost::compression_cache(const DomainRef& domain) {
  const Json now = co_await parameters(domain);
  co_return static_cast<std::uint64_t>(number_at(now, "xbzrle-cache-size"));
}

// -- events ---------------------------------------------------------------------------------------

struct QmpHost::Watching final : Subscription {
  struct State {
    std::shared_ptr<Client> client;
    DomainRef domain;
    OnEvent on;
    bool over = false;
  };
  explicit Watching(std::shared_ptr<State> s) : state(std::move(s)) {}
  ~Watching() override {
    state->over = true;
    state->on = nullptr;
  }

  static void tell(State& state, const Event& event) {
    DomainEvent out;
    out.domain = state.domain;
    if (event.name == "MIGRATION_PASS") {
      out.kind = DomainEvent::Kind::iteration;
      out.iteration = static_cast<std::int32_t>(number_at(event.data, "pass"));
    } else if (event.name == "MIGRATION" && text_at(event.data, "status") == "postcopy-active") {
      out.event = kEventSuspended;
      out.detail = kSuspendedPostcopy;
    } else if (event.name == "RESUME") {
      out.event = kEventResumed;
      out.detail = kResumedMigrated;
    } else {
      return;
    }
    state.on(out);
  }

  // QEMU's event does not say whether it is the switch-over, or the guest was paused by somebody:
  // before the copy (a guest that loses writes otherwise), or so that it can end.
  static Task<> tell_stop(State& state) {
    Task<std::optional<Json>> asking = ask(*state.client, "query-status");
    const auto asked = co_await settle(std::move(asking));
    if (!asked || state.over) co_return;
    const std::string word = *asked ? text_at(**asked, "status") : "";
    DomainEvent out;
    out.domain = state.domain;
    out.event = kEventSuspended;
    out.detail = word == "paused" ? kSuspendedPaused : kSuspendedMigrated;
    state.on(out);
  }

  // Ends with the subscription's next event, or with the monitor: it only touches its own state.
  static Task<> loop(std::shared_ptr<State> state) {
    Cursor cursor = state->client->cursor();
    while (!state->over) {
      const Event event = co_await state->client->next_event(cursor);
      if (state->over) co_return;
      if (event.name == "STOP")
        co_await tell_stop(*state);
      else
        tell(*state, event);
    }
  }

  std::shared_ptr<State> state;
};

Task<std::unique_ptr<Subscription>> QmpHost::watch_events(const Instance& i, DomainRef domain,
                                                          OnEvent on) {
  auto state = std::make_shared<Watching::State>();
  state->client = co_await monitor(i);
  state->domain = std::move(domain);
  state->on = std::move(on);
  const auto ex = co_await asio::this_coro::executor;
  asio::co_spawn(ex, Watching::loop(state), [](const std::exception_ptr&) {});
  co_return std::make_unique<Watching>(std::move(state));
}

// Every domain that runs here now, and each that comes up through this object.
struct QmpHost::Everywhere {
  OnEvent on;
  std::map<std::string, std::unique_ptr<Subscription>> each = {};  // by directory of the instance
};

Task<> QmpHost::watch_too(Everywhere& all, const Instance& i) {
  Task<std::unique_ptr<Subscription>> watching = watch_events(i, ref(i), all.on);
  auto watched = co_await settle(std::move(watching));
  if (watched)
    all.each.insert_or_assign(i.dir, *std::move(watched));
  else if (alive(i.process))
    notice(fmt::format("no events of domain '{}': {}", escaped(i.name), watched.error().message));
}

Task<> QmpHost::came_up(const Instance& i) {
  std::erase_if(everywhere_, [](const auto& weak) { return weak.expired(); });
  const std::vector<std::weak_ptr<Everywhere>> known = everywhere_;
  for (const auto& weak : known)
    if (const auto all = weak.lock()) co_await watch_too(*all, i);
}

namespace {
struct Kept final : Subscription {
  explicit Kept(std::shared_ptr<void> what) : kept(std::move(what)) {}
  std::shared_ptr<void> kept;
};
}  // namespace

Task<std::unique_ptr<Subscription>> QmpHost::subscribe(const DomainRef& domain, OnEvent on) {
  if (domain.uuid != Uuid{}) {
    const Instance i = active(domain);
    Task<std::unique_ptr<Subscription>> watching = watch_events(i, domain, std::move(on));
    std::unique_ptr<Subscription> one = co_await std::move(watching);
    co_return one;
  }
  auto all = std::make_shared<Everywhere>(std::move(on));
  everywhere_.push_back(all);
  for (const Instance& i : store_.instances())
    if (i.stage == Stage::active) co_await watch_too(*all, i);
  co_return std::make_unique<Kept>(std::move(all));
}

}  // namespace vmferry::qmp
