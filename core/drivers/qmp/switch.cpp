// The moment at which a guest changes hands: its state has arrived, it is let run, it is watched.
#include <fmt/format.h>

#include <csignal>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

constexpr Micros kArrival = std::chrono::seconds(30);  ///< from Perform's end to ours
constexpr Micros kAnswers = std::chrono::seconds(5);
constexpr Micros kContLimit = std::chrono::seconds(10);   ///< it may have images to open
constexpr Micros kResumeLimit = std::chrono::seconds(5);  ///< that comes before the answer
constexpr Micros kLastWords = std::chrono::milliseconds(50);

bool migration_ended(const Event& e) {
  const std::string status = e.name == "MIGRATION" ? text_at(e.data, "status") : "";
  return status == "completed" || status == "failed" || in_postcopy(status);
}
bool stopped(const Event& e) { return e.name == "STOP"; }
bool resumed(const Event& e) { return e.name == "RESUME"; }
// A KVM error only stops it, as a user would.
bool died(const Event& e) {
  return e.name == "SHUTDOWN" || e.name == "GUEST_PANICKED" || e.name == "STOP";
}

// QEMU writes RESUME to its monitor before it lets the first vCPU run (vm_prepare_start() in
// system/cpus.c), and what a process has written can be read after its death. So if a process is
// gone and its monitor ends without RESUME, the guest never ran there.
Task<> prove_not_run(Client& client, Cursor cursor, ProcessId process, Clock& clock) {
  const bool gone = co_await ended_within(process, clock, std::chrono::seconds(1));
  if (!gone) throw Error(ErrorId::connect_lost, "QEMU does not answer, but is there");
  co_await with_deadline(clock, std::chrono::seconds(5), "the end of QEMU's monitor",
                         client.drain());
  Task<Event> waiting = client.wait_event(cursor, resumed);
  const auto ran = co_await settle(std::move(waiting));
  if (ran) throw Error(ErrorId::connect_lost, "QEMU ended after it had let the guest run");
}

// One that may be about to run the guest is ended so that its monitor tells whether it did: what it
// has written once it stands still is its last word. Returns RESUME if it runs: then it goes on.
Task<std::optional<Event>> end_unless_it_runs(Client& client, Cursor& cursor, ProcessId process,
                                              Clock& clock) {
  send_signal(process, SIGSTOP);
  co_await clock.sleep(kLastWords);
  Task<Event> waiting = client.wait_event(cursor, resumed);
  Task<std::optional<Event>> reading = within(clock, kLastWords, std::move(waiting));
  const auto read = co_await settle(std::move(reading));
  if (read && *read) {
    send_signal(process, SIGCONT);
    co_return *read;
  }
  send_signal(process, SIGKILL);
  co_return std::nullopt;
}

}  // namespace

// Its events up to its end.
Task<std::optional<Micros>> QmpHost::ended_standing_still(Client& client, Cursor from,
                                                          ProcessId process, bool ran) {
  const bool gone = co_await ended_within(process, env_.clock, std::chrono::seconds(5));
  if (!gone) co_return std::nullopt;
  co_await with_deadline(env_.clock, std::chrono::seconds(5), "the end of QEMU's monitor",
                         client.drain());
  Micros since{};
  bool standing = !ran;
  for (;;) {
    Task<Event> next = client.next_event(from);
    const auto event = co_await settle(std::move(next));
    if (!event && event.error().id != ErrorId::connect_lost) co_return std::nullopt;
    if (!event) break;
    const std::string status = event->name == "MIGRATION" ? text_at(event->data, "status") : "";
    if (status == "failed" || status == "cancelled" || in_postcopy(status)) co_return std::nullopt;
    if (stopped(*event)) since = event->time;
    if (stopped(*event) || resumed(*event)) standing = stopped(*event);
  }
  if (!standing) co_return std::nullopt;
  co_return since;
}

// Events seen before this connection was made do not come again, so the state is asked once.
Task<> arrived(Client& client, Clock& clock) {
  Cursor cursor = client.cursor();
  // The guest stands still meanwhile; one that does not answer has surely not run it.
  const Json info = co_await client.execute("query-migrate", Json::object(), kAnswers);
  std::string status = text_at(info, "status");
  if (status != "completed" && status != "failed" && !in_postcopy(status)) {
    Task<Event> waiting = client.wait_event(cursor, migration_ended);
    const Event event = co_await with_deadline(clock, kArrival, "the end of the incoming state",
                                               std::move(waiting));
    status = text_at(event.data, "status");
  }
  if (status != "completed" && !in_postcopy(status))
    throw Error(ErrorId::migrate_failed, "QEMU on the destination could not load the guest");
}

Task<Went> QmpHost::let_run(Instance& i) {
  std::shared_ptr<Client> client = co_await monitor(i);
  Task<> arriving = arrived(*client, env_.clock);
  co_await std::move(arriving);
  const Cursor before = client->cursor();
  store_.starting(i.migration, i.same_kernel ? Outlives::program : Outlives::machine);
  // From here on it may run: only QEMU's own refusal, or its end without RESUME, say that it did
  // not.
  Task<Json> going = client->execute("cont", Json::object(), kContLimit);
  const auto went = co_await settle(std::move(going));
  if (!went && went.error().id == ErrorId::remote) {
    store_.not_started(i.migration);
    throw Error(went.error());
  }
  Cursor after = before;
  Task<Event> waiting = client->wait_event(after, resumed);
  const Micros patience = went ? kResumeLimit : kLastWords;
  Task<Event> limited = with_deadline(env_.clock, patience, "QEMU's RESUME", std::move(waiting));
  auto event = co_await settle(std::move(limited));
  if (!event) {
    Task<Event> settling = settle_silence(*client, before, i, went ? event.error() : went.error());
    event = co_await std::move(settling);
  }
  i.stage = Stage::active;
  store_.save(i);
  co_return Went{event->time, env_.clock.now(), after};
}

// No RESUME came. In post-copy the guest is not on the source any more, so its process is left
// alone; else it is ended, unless it runs the guest after all.
Task<Event> QmpHost::settle_silence(Client& client, Cursor before, const Instance& i, Error why) {
  if (!client.lost() && !i.postcopy) {
    Cursor from = before;
    const std::optional<Event> late =
        co_await end_unless_it_runs(client, from, i.process, env_.clock);
    if (late) co_return *late;
    why.note(
        fmt::format("QEMU process {} did not let the guest run, and was ended", i.process.pid));
  }
  Task<> proving = prove_not_run(client, before, i.process, env_.clock);
  const auto proof = co_await settle(std::move(proving));
  why.reply_lost = !proof.has_value();
  if (proof) store_.not_started(i.migration);
  if (!proof) why.note(proof.error().message);
  throw why;
}

Task<> QmpHost::watch(const Instance& i, Went went) {
  std::shared_ptr<Client> client = co_await monitor(i);
  // Long enough to read what has come by now, however late we are.
  const Micros left = std::max<Micros>(went.at + kWatch - env_.clock.now(), Millis(1));
  Task<Event> waiting = client->wait_event(went.after, died);
  Task<std::optional<Event>> watching = within(env_.clock, left, std::move(waiting));
  const auto watched = co_await settle(std::move(watching));
  if (watched && !*watched) co_return;
  bool stopped = false;
  if (watched && (*watched)->name == "STOP") {
    const Json status = co_await client->execute("query-status");
    const std::string word = text_at(status, "status");
    stopped = word != "internal-error" && word != "guest-panicked" && word != "shutdown";
  }
  if (stopped) co_return;  // by someone who may, or by a full disk: it is there
  Error dead(ErrorId::guest_lost,
             fmt::format("the guest started here and ended within {} ms: {}", kWatch.count() / 1000,
                         last_words(store_.log_of(i.uuid), 0)));
  dead.reply_lost = true;  // it ran: the source's copy is no longer the guest
  throw dead;
}

}  // namespace vmferry::qmp
