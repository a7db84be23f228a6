// Settling what an interrupted command has left behind.
#include <fmt/format.h>

#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

class Cleaner {
 public:
  Cleaner(QmpHost& host, bool dry_run) : host_(host), dry_run_(dry_run) {}

  Task<std::vector<Leftover>> run() {
    for (const Instance& i : host_.store().instances())
      if (i.stage == Stage::incoming) co_await settle_incoming(i);
    for (const Instance& i : host_.store().instances())
      if (i.stage != Stage::incoming && i.held) co_await settle_held(i);
    for (const std::string& dir : host_.store().unfinished()) co_await settle_unfinished(dir);
    co_return std::move(out_);
  }

 private:
  // To be settled; null when it is only looked at.
  Leftover* found(std::string what) {
    Leftover& entry = out_.emplace_back(Leftover{std::move(what), false, {}});
    if (!dry_run_) return &entry;
    entry.why_not = "only looked at";
    return nullptr;
  }

  // Whoever works on a domain holds its lock: then this is no leftover.
  static std::optional<Fd> lock(const Store& store, const Uuid& uuid) {
    return try_lock(fmt::format("{}/{}.job", store.places().run, to_string(uuid)));
  }

  Task<> settle_incoming(Instance incoming) {
    const std::optional<Fd> held = lock(host_.store(), incoming.uuid);
    if (!held) co_return;
    const std::optional<Instance> other = other_of(incoming);
    Leftover* entry = found(fmt::format("incoming QEMU {} of domain '{}'", incoming.process.pid,
                                        escaped(incoming.name)));
    if (!entry) co_return;
    const auto started = host_.store().settle_started(incoming.migration);
    if (!started || *started) {
      Task<> promoting = promote(incoming, other, *entry);
      const auto promoted = co_await settle(std::move(promoting));
      if (!promoted) entry->why_not = promoted.error().message;
      co_return;
    }
    co_await host_.end(incoming);
    entry->removed = true;
    if (!other || !other->held) co_return;
    Task<> going = go_on(*other);
    const auto went = co_await settle(std::move(going));
    if (!went) entry->why_not = "it never ran and is gone, but " + went.error().message;
  }

  Task<> settle_held(Instance source) {
    std::optional<Instance> other = other_of(source);
    if (!other)
      co_await settle_source(std::move(source));
    else if (other->stage == Stage::active && !other->held)
      co_await settle_superseded(std::move(source), *std::move(other));
  }

  // The new process was seen to run the guest; only the end of the old one was not reached.
  Task<> settle_superseded(Instance old, Instance other) {
    const std::optional<Fd> held = lock(host_.store(), old.uuid);
    if (!held) co_return;
    Leftover* entry = found(fmt::format("old QEMU {} of domain '{}', which runs in another by now",
                                        old.process.pid, escaped(old.name)));
    if (!entry) co_return;
    co_await host_.end(old);
    entry->removed = true;
    const std::vector<std::string> troubles = co_await host_.take_names(other);
    for (const std::string& trouble : troubles) entry->what += "; " + trouble;
  }

  // The source of a migration to elsewhere. As long as QEMU has not sent everything, nobody there
  // can run the guest; once it has, only the other side knows.
  Task<> settle_source(Instance source) {
    const std::optional<Fd> held = lock(host_.store(), source.uuid);
    if (!held) co_return;
    Leftover* entry = found(
        fmt::format("the source of an interrupted migration, domain '{}'", escaped(source.name)));
    if (!entry) co_return;
    Task<> trying = stop_sending(source);
    const auto stopped = co_await settle(std::move(trying));
    if (!stopped) entry->why_not = stopped.error().message;
    entry->removed = stopped.has_value();
  }

  Task<> stop_sending(Instance source) {
    std::shared_ptr<Client> client = co_await host_.monitor(source);
    Task<std::string> asking = migration_status(*client);
    std::string status = co_await std::move(asking);
    if (!source.postcopy && (status == "active" || status == "setup"))
      co_await client->execute("migrate_cancel");
    for (int tries = 0; tries < 50; ++tries) {
      Task<std::string> again = migration_status(*client);
      status = co_await std::move(again);
      if (status == "failed" || status == "cancelled" || status == "none" || source.postcopy) break;
      if (status == "completed") break;
      co_await host_.clock().sleep(Millis(100));
    }
    const bool sent = status == "completed" && !source.postcopy;
    const Whereabouts there = sent ? at_the_destination(source) : Whereabouts::unknown;
    if (there == Whereabouts::runs) {
      co_await host_.end(std::move(source));
      co_return;
    }
    const bool may_run_here = there == Whereabouts::never || status == "failed" ||
                              status == "cancelled" || status == "none";
    if (!may_run_here)
      throw Error(ErrorId::undecided,
                  fmt::format("another QEMU was sent its memory, or part of it ({}): look there "
                              "before anything is resumed or destroyed",
                              status));
    Task<> going = go_on(std::move(source));
    co_await std::move(going);
  }

  enum class Whereabouts : std::uint8_t { runs, never, unknown };

  // What a destination on this machine has recorded. Asking fences: a guest that was not started by
  // then never will be.
  static Whereabouts at_the_destination(const Instance& source) {
    const Places& places = source.went_to;
    if (!places.state.starts_with('/') || entries(places.state).empty())
      return Whereabouts::unknown;
    const Store there(places);
    const std::optional<bool> started = there.settle_started(source.migration);
    if (started && !*started) return Whereabouts::never;
    for (const Instance& i : there.instances())
      if (started && i.migration == source.migration && i.stage == Stage::active)
        return Whereabouts::runs;
    return Whereabouts::unknown;
  }

  std::optional<Instance> other_of(const Instance& incoming) const {
    for (Instance& i : host_.store().instances())
      if (i.uuid == incoming.uuid && i.dir != incoming.dir) return std::move(i);
    return std::nullopt;
  }

  // It was told to run. If it does, it is the guest, and the other one is what is left over.
  Task<> promote(Instance incoming, std::optional<Instance> other, Leftover& entry) {
    std::shared_ptr<Client> client = co_await host_.monitor(incoming);
    const Json state = co_await client->execute("query-status");
    if (!flag_at(state, "running")) {
      entry.why_not =
          "it may have run the guest, and is stopped now: look at it before anything "
          "is resumed or destroyed";
      co_return;
    }
    incoming.stage = Stage::active;
    incoming.made.clear();
    host_.store().save(incoming);
    entry.what += " runs the guest: it is the domain now";
    entry.removed = true;
    if (other && !other->held) co_return;
    if (other) co_await host_.end(*other);  // else it is on another host, or has stepped aside
    const std::vector<std::string> troubles = co_await host_.take_names(incoming);
    for (const std::string& trouble : troubles) entry.what += "; " + trouble;
  }

  Task<> go_on(Instance source) {
    std::shared_ptr<Client> client = co_await host_.monitor(source);
    Task<> dropping = drop_mirrors(*client);
    co_await std::move(dropping);
    Task<> running = run_again(*client, host_.clock());
    co_await std::move(running);
    source.stage = Stage::active;
    source.held = false;
    source.migration.clear();
    host_.store().save(source);
  }

  // Its description is written before its monitor is opened, so nobody ever let it run: it was
  // started with -S.
  Task<> settle_unfinished(std::string dir) {
    const std::string name = dir.substr(dir.rfind('/') + 1);
    const auto uuid = parse_uuid(name.substr(0, name.find('.')));
    const std::optional<Fd> held = uuid ? lock(host_.store(), *uuid) : std::nullopt;
    if (!held) co_return;
    const auto text = read_file(dir + "/pid");
    const auto pid = parse_number<std::int32_t>(trimmed(text.value_or("")));
    const ProcessId process = pid ? process_now(*pid) : ProcessId{};
    Leftover* entry = found(fmt::format("unfinished start of domain {}", to_string(*uuid)));
    if (!entry) co_return;
    const std::string argv = read_file(fmt::format("/proc/{}/cmdline", process.pid)).value_or("");
    const bool ours = alive(process) && argv.find("id=vmferry0,") != std::string::npos &&
                      argv.find(to_string(*uuid)) != std::string::npos;
    if (ours) co_await kill_and_wait(process, host_.clock());
    remove_all(dir);
    entry->removed = true;
  }

  QmpHost& host_;
  bool dry_run_;
  std::vector<Leftover> out_;
};

}  // namespace
}  // namespace vmferry::qmp

namespace vmferry {

Task<std::vector<Leftover>> clean_up(Host& host, bool dry_run) {
  qmp::Cleaner cleaner(qmp::as_qmp(host), dry_run);
  Task<std::vector<Leftover>> running = cleaner.run();
  std::vector<Leftover> out = co_await std::move(running);
  co_return out;
}

}  // namespace vmferry
