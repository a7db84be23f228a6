#include "core/drivers/qmp/copy.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/descriptors.hpp"

namespace vmferry::qmp {

namespace {

bool compresses_by(const Params& params, std::string_view method) {
  for (const TypedParam& p : params.items)
    if (p.field == "compression" && p.value == TypedParam::Value(std::string(method))) return true;
  return false;
}

std::string multifd_method(const Params& params) {
  for (const char* method : {"zstd", "zlib"})
    if (compresses_by(params, method)) return method;
  return "none";
}

// One pass after another must leave less; else the guest may stand still a little longer.
class Convergence {
 public:
  // The new limit in ms, or 0 for no change.
  std::int64_t pass(std::int64_t number, std::int64_t remaining) {
    const bool shrinks = last_ < 0 || remaining < last_ - last_ / 10;
    last_ = remaining;
    if (number < 3 || shrinks || limit_ >= kMostDowntimeMs) return 0;
    limit_ = std::min(limit_ * 2, kMostDowntimeMs);
    return limit_;
  }
  std::int64_t limit() const { return limit_; }

 private:
  std::int64_t last_ = -1;
  std::int64_t limit_ = kDowntimeMs;
};

// Leaves alone a limit that a person has set meanwhile.
Task<> tune(Client& client, Convergence& convergence, const Json& pass) {
  const Json info = co_await client.execute("query-migrate");
  const std::int64_t before = convergence.limit();
  const std::int64_t limit =
      convergence.pass(number_at(pass, "pass"), number_at(at(info, "ram"), "remaining"));
  if (limit == 0) co_return;
  const Json now = co_await client.execute("query-migrate-parameters");
  if (number_at(now, "downtime-limit") != before) co_return;
  Json wanted = {{"downtime-limit", limit}};
  co_await client.execute("migrate-set-parameters", std::move(wanted));
}

Task<Error> why_failed(Client& client, bool cancelled) {
  const Json info = co_await client.execute("query-migrate");
  const std::string reason = escaped_lines(text_at(info, "error-desc"));
  if (cancelled) co_return Error(ErrorId::cancelled, "the migration was cancelled");
  co_return Error(
      ErrorId::migrate_failed,
      fmt::format("QEMU on the source: {}", reason.empty() ? "the migration failed" : reason));
}

// The guest stands still, and nothing of it is on the other side yet.
Task<> switch_over(Client& client, const CopyPlan& plan) {
  Task<> ending = end_mirrors(client, plan.mirrors);
  const auto ended = co_await settle(std::move(ending));
  if (!ended) {
    co_await client.execute("migrate_cancel");
    throw Error(ended.error());
  }
  Json state = {{"state", "pre-switchover"}};
  co_await client.execute("migrate-continue", std::move(state));
}

// QEMU leaves Nagle's algorithm (tcp(7), TCP_NODELAY) on for the guest's state. The last of it
// would wait for the peer's delayed acknowledgement, 40 ms in which the guest stands still. What
// cannot be changed is only slower.
void send_at_once(const ProcessId& source, std::string_view uri) {
  const auto port = parse_number<std::uint16_t>(uri.substr(uri.rfind(':') + 1));
  if (!port || source.start == 0) return;
  for (const Fd& socket : connections_of(source, *port)) {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
}

constexpr Micros kAskAgain = std::chrono::seconds(5);
constexpr Micros kCancels = std::chrono::seconds(10);

bool has_ended(const std::string& status) {
  return status == "completed" || status == "failed" || status == "cancelled";
}

// Nothing if QEMU does not answer: whoever waits for the guest knows how long it may stand still.
Task<std::string> status_if_told(Client& client) {
  Task<Json> asking = client.execute("query-migrate", Json::object(), kAskAgain);
  const auto info = co_await settle(std::move(asking));
  if (!info && info.error().id != ErrorId::timed_out) throw Error(info.error());
  co_return info ? text_at(*info, "status") : "";
}

// All in the message: whoever asked may be another program, which gets nothing else.
Error never_cancelled(const Client& client) {
  return Error(ErrorId::cancelled,
               fmt::format("the migration was cancelled, but QEMU {} does not bring that to an "
                           "end. {}",
                           client.version_text(), kNeverCancelled));
}

// What QEMU tells next. It is asked as well now and then, so that an event that was missed, or a
// cancellation without an end, is not waited for as long as the guest lives.
class News {
 public:
  News(Client& client, Clock& clock, Cursor& cursor)
      : client_(client), clock_(clock), cursor_(cursor) {}

  Task<Event> next() {
    for (;;) {
      const Micros now = clock_.now();
      if (give_up_ && now >= *give_up_) throw never_cancelled(client_);
      Cursor next = cursor_;  // else what comes in the moment of the timeout would be passed over
      Task<Event> waiting = client_.next_event(next);
      const Micros pause = give_up_ ? std::min(kAskAgain, *give_up_ - now) : kAskAgain;
      std::optional<Event> event = co_await within(clock_, pause, std::move(waiting));
      const std::string status =
          event && event->name == "MIGRATION" ? text_at(event->data, "status") : std::string();
      if (status == "cancelling") is_cancelling();
      if (event) {
        cursor_ = next;
        co_return *std::move(event);
      }
      Task<std::string> asking = status_if_told(client_);
      const std::string asked = co_await std::move(asking);
      if (asked == "cancelling") is_cancelling();
      const bool all_heard = cursor_.next == client_.cursor().next;
      if (all_heard && has_ended(asked))
        co_return Event{.name = "MIGRATION", .data = {{"status", asked}}};
    }
  }

 private:
  void is_cancelling() {
    if (!give_up_) give_up_ = clock_.now() + kCancels;
  }

  Client& client_;
  Clock& clock_;
  Cursor& cursor_;
  std::optional<Micros> give_up_;
};

// Until the migration has ended, one way or the other.
Task<std::string> follow(Client& client, Clock& clock, const CopyPlan& plan, Cursor& cursor,
                         CopyOutcome& out) {
  Convergence convergence;
  News news(client, clock, cursor);
  for (;;) {
    const Event event = co_await news.next();
    if (event.name == "STOP") out.stopped_at = event.time;
    if (event.name == "MIGRATION") {
      const std::string status = text_at(event.data, "status");
      if (has_ended(status)) co_return status;
      if (status == "active" && plan.uri.starts_with("tcp:")) send_at_once(plan.source, plan.uri);
      if (plan.resume && status == "postcopy-paused") co_return status;
      out.postcopy = out.postcopy || status == "postcopy-active";
      if (status == "pre-switchover") co_await switch_over(client, plan);
    }
    // The guest stops a moment after post-copy was announced.
    const bool stopped = plan.stop_first || plan.resume || out.stopped_at.count() != 0;
    if (out.postcopy && stopped) co_return "completed";
    if (event.name == "MIGRATION_PASS" && !plan.stop_first && !plan.hand_over)
      co_await tune(client, convergence, event.data);
    const bool disk_error = event.name == "BLOCK_IO_ERROR" && plan.abort_on_error;
    if (disk_error) co_await client.execute("migrate_cancel");
  }
}

Task<CopyOutcome> copy_connected(Client& client, Clock& clock, const CopyPlan& plan) {
  CopyOutcome out;
  Json capabilities = {{"capabilities", plan.capabilities}};
  Json parameters = plan.parameters;
  Json target = {{"uri", plan.uri}};
  if (plan.channels.is_array()) target = {{"channels", plan.channels}};
  if (plan.resume) target["resume"] = true;
  if (!plan.resume) co_await set_capabilities(client, std::move(capabilities));
  co_await client.execute("migrate-set-parameters", std::move(parameters));
  Cursor cursor = client.cursor();
  if (!plan.mirrors.disks.empty()) {
    Task<> mirroring = mirror(client, plan.mirrors);
    co_await std::move(mirroring);
    cursor = client.cursor();
  }
  if (plan.stop_first) co_await client.execute("stop");
  co_await client.execute("migrate", std::move(target));
  Task<std::string> following = follow(client, clock, plan, cursor, out);
  const std::string end = co_await std::move(following);
  if (end == "postcopy-paused")
    throw Error(ErrorId::data_lost, "the connection of the post-copy broke again");
  if (end != "completed") {
    Task<Error> asking = why_failed(client, end == "cancelled");
    throw co_await std::move(asking);
  }
  const Json info = co_await client.execute("query-migrate");
  out.stats = to_stats(info);
  co_return out;
}

}  // namespace

Task<Capabilities> known_capabilities(Client& client) {
  Capabilities out{.names = {}, .version = client.version_text()};
  const Json known = co_await client.execute("query-migrate-capabilities");
  if (known.is_array())
    for (const Json& entry : known) out.names.insert(text_at(entry, "capability"));
  co_return out;
}

Json capability_list(const Capabilities& known, FlagSet flags, const Params& params,
                     bool hand_over) {
  const bool parallel = flags.has(Flag::parallel);
  const bool xbzrle = compresses_by(params, "xbzrle") ||
                      (flags.has(Flag::compressed) && !params.has("compression"));
  if (compresses_by(params, "mt"))
    throw Error(ErrorId::unsupported, "compression by threads (mt) is not done by this driver")
        .advise("Use xbzrle, or zstd with --parallel.");
  const std::pair<const char*, bool> wanted[] = {
      {"events", true},
      {"return-path", !flags.has(Flag::tunnelled)},  // the tunnel goes one way
      {"x-ignore-shared", hand_over},
      {"auto-converge", flags.has(Flag::auto_converge)},
      {"xbzrle", xbzrle},
      {"multifd", parallel},
      {"compress", false},
      {"postcopy-ram", flags.has(Flag::postcopy) && !hand_over},
      {"zero-copy-send", flags.has(Flag::zerocopy)},
      {"pause-before-switchover", copies_disks(flags)}};
  Json list = Json::array();
  std::vector<std::string> missing;
  for (const auto& [name, on] : wanted) {
    if (known.names.contains(name))
      list.push_back({{"capability", name}, {"state", on}});
    else if (on)
      missing.emplace_back(name);
  }
  if (!missing.empty())
    throw Error(ErrorId::feature_missing,
                fmt::format("QEMU {} cannot do: {}", known.version, joined(missing, ", ")));
  return list;
}

Task<> set_capabilities(Client& client, Json capabilities) {
  Task<Json> setting = client.execute("migrate-set-capabilities", std::move(capabilities));
  const auto set = co_await settle(std::move(setting));
  if (set) co_return;
  if (set.error().id != ErrorId::remote) throw Error(set.error());
  Error error(ErrorId::feature_missing, set.error().message);
  if (lower(error.message).find("postcopy") != std::string::npos)
    error.remedy =
        "Post-copy needs userfaultfd on the destination: run QEMU there as root, or allow it with "
        "`sysctl vm.unprivileged_userfaultfd=1`; or leave --postcopy out.";
  throw error;
}

Json parameter_list(FlagSet flags, const Params& params, bool sending) {
  Json out = Json::object();
  const auto copy = [&](const char* field, const char* name) {
    if (const auto* n = params.get<std::int32_t>(field)) out[name] = *n;
  };
  if (flags.has(Flag::parallel)) {
    const auto* n = params.get<std::int32_t>("parallel.connections");
    out["multifd-channels"] = n != nullptr ? *n : 2;
    out["multifd-compression"] = multifd_method(params);
    copy("compression.zlib.level", "multifd-zlib-level");
    copy("compression.zstd.level", "multifd-zstd-level");
  }
  if (!sending) return out;
  const auto* mib = params.get<std::uint64_t>("bandwidth");
  out["max-bandwidth"] = mib != nullptr ? *mib << 20 : 0;
  out["downtime-limit"] = kDowntimeMs;
  const auto* rest = params.get<std::uint64_t>("bandwidth.postcopy");
  out["max-postcopy-bandwidth"] = rest != nullptr ? *rest << 20 : 0;
  copy("auto_converge.initial", "cpu-throttle-initial");
  copy("auto_converge.increment", "cpu-throttle-increment");
  if (const auto* bytes = params.get<std::uint64_t>("compression.xbzrle.cache"))
    out["xbzrle-cache-size"] = *bytes;
  return out;
}

Task<CopyOutcome> copy_guest(Client& client, Clock& clock, const CopyPlan& plan) {
  Task<CopyOutcome> copying = copy_connected(client, clock, plan);
  auto done = co_await settle(std::move(copying));
  if (done) co_return *std::move(done);
  if (client.lost())
    throw Error(ErrorId::hypervisor_died,
                fmt::format("the QEMU of the source ended: {}", done.error().message));
  if (!plan.mirrors.disks.empty()) {
    Task<> dropping = drop_mirrors(client);
    const auto dropped = co_await settle(std::move(dropping));
    if (!dropped) done.error().note("the copy of the disks goes on: " + dropped.error().message);
  }
  throw std::move(done).error();
}

// QEMU resumes by itself a guest that it stopped; what we stopped before, it does not.
Task<> run_again(Client& client, Clock& clock) {
  const Micros began = clock.now(), give_up = began + std::chrono::seconds(10);
  while (clock.now() < give_up) {
    Cursor cursor = client.cursor();
    const Json info = co_await client.execute("query-migrate");
    const Json status = co_await client.execute("query-status");
    const std::string copying = text_at(info, "status");
    const bool cancels = copying == "cancelling" && clock.now() - began < std::chrono::seconds(2);
    const bool busy = copying == "active" || copying == "setup" || copying == "device" || cancels;
    if (!busy && flag_at(status, "running")) co_return;
    const std::string word = text_at(status, "status");
    if (!busy && (word == "paused" || word == "postmigrate")) {
      co_await client.execute("cont");
      co_return;
    }
    Task<Event> waiting = client.next_event(cursor);
    co_await within(clock, Millis(100), std::move(waiting));
  }
  throw Error(ErrorId::remote, "QEMU does not come back from the migration");
}

Task<std::string> migration_status(Client& client) {
  const Json info = co_await client.execute("query-migrate");
  co_return text_at(info, "status", "none");
}

JobStats to_stats(const Json& info) {
  static constexpr std::array<std::pair<const char*, const char*>, 9> ram_fields{{
      {"total", "memory_total"},
      {"remaining", "memory_remaining"},
      {"transferred", "memory_processed"},
      {"duplicate", "memory_constant"},
      {"normal", "memory_normal"},
      {"normal-bytes", "memory_normal_bytes"},
      {"dirty-pages-rate", "memory_dirty_rate"},
      {"dirty-sync-count", "memory_iteration"},
      {"page-size", "memory_page_size"},
  }};
  JobStats stats;
  const std::string status = text_at(info, "status", "none");
  stats.type = status == "completed"                   ? JobType::completed
               : status == "failed"                    ? JobType::failed
               : status == "cancelled"                 ? JobType::cancelled
               : status == "none" || status == "setup" ? JobType::none
                                                       : JobType::unbounded;
  if (status == "setup") stats.type = JobType::unbounded;
  const auto number = [](const Json& from, const char* key) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(number_at(from, key), 0));
  };
  if (status == "postcopy-paused") stats.type = JobType::unbounded;
  stats.fields.add("time_elapsed", number(info, "total-time"));
  if (info.contains("setup-time")) stats.fields.add("setup_time", number(info, "setup-time"));
  const char* downtime = info.contains("downtime") ? "downtime" : "expected-downtime";
  if (info.contains(downtime)) stats.fields.add("downtime", number(info, downtime));
  const Json& ram = at(info, "ram");
  if (!ram.is_object()) return stats;
  for (const auto& [key, field] : ram_fields)
    if (ram.contains(key)) stats.fields.add(field, number(ram, key));
  if (ram.contains("postcopy-requests"))
    stats.fields.add("memory_postcopy_requests", number(ram, "postcopy-requests"));
  // What goes over the wire, as libvirt counts it: all of memory, or what of it has to be sent.
  for (const auto& [from, to] :
       {std::pair("memory_total", "data_total"), std::pair("memory_processed", "data_processed"),
        std::pair("memory_remaining", "data_remaining")})
    stats.fields.add(to, stats.number(from));
  const Json& rate = at(ram, "mbps");
  if (rate.is_number() && rate.get<double>() > 0)
    stats.fields.add("memory_bps", static_cast<std::uint64_t>(rate.get<double>() * 1e6 / 8));
  return stats;
}

Task<bool> loses_writes(Client& client) {
  if (client.version_number() >= 9000000) co_return false;
  const Json kvm = co_await client.execute("query-kvm");
  co_return !flag_at(kvm, "enabled");
}

}  // namespace vmferry::qmp
