// Starting QEMU processes, reaching their monitors, ending them.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

constexpr Micros kStartLimit = std::chrono::seconds(60);
constexpr Micros kMonitorLimit = std::chrono::seconds(10);
constexpr Micros kGreeting = std::chrono::seconds(5);

// The command line as it is started: our monitors, RAM, and what makes it wait.
Words complete(const NewProcess& process, const std::vector<Fd>& sockets, bool incoming) {
  Words argv = process.started_as.empty() ? process.argv : process.started_as;
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    argv.emplace_back("-chardev");
    argv.push_back(
        fmt::format("socket,id=vmferry{},fd={},server=on,wait=off", i, sockets[i].get()));
    argv.emplace_back("-mon");
    argv.push_back(fmt::format("chardev=vmferry{},mode=control", i));
  }
  if (process.memory)
    share_ram(argv, process.shared_ram, process.memory.get(), process.private_view);
  argv.emplace_back("-S");
  for (const std::string& channel : process.channels) {
    argv.emplace_back("-incoming");
    argv.push_back(channel);
  }
  if (incoming && process.channels.empty()) {
    argv.emplace_back("-incoming");
    argv.emplace_back("defer");
  }
  return argv;
}

}  // namespace

std::size_t size_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
}

std::string last_words(const std::string& log, std::size_t from) {
  std::string text;
  try {
    text = read_file(log, std::size_t{64} << 20).value_or("");
  } catch (const Error&) {
    return {};  // only ever an addition to another error
  }
  if (from > text.size()) from = 0;
  const std::size_t start = std::max(from, text.size() > 2048 ? text.size() - 2048 : 0);
  return escaped_lines(std::string_view(text).substr(start));
}

DomainRef ref(const Instance& instance) {
  return {instance.name, instance.uuid, instance.process.pid};
}

Task<std::string> real_machine(Client& client) {
  Json what = {{"path", "/machine"}, {"property", "type"}};
  const Json type = co_await client.execute("qom-get", std::move(what));
  std::string name = type.is_string() ? type.get<std::string>() : "";
  if (name.ends_with("-machine")) name.resize(name.size() - 8);
  if (name.empty()) throw Error(ErrorId::remote, "QEMU does not tell its machine type");
  co_return name;
}

std::optional<Instance> QmpHost::instance(const Uuid& uuid) const {
  std::optional<Instance> found;
  for (Instance& i : store_.instances()) {
    if (i.uuid != uuid) continue;
    const bool better = i.stage == Stage::active || (found && found->stage == Stage::incoming);
    if (!found || better) found = std::move(i);
  }
  return found;
}

std::optional<Instance> QmpHost::incoming(const DomainRef& domain) const {
  const bool named = domain.uuid == Uuid{};
  for (Instance& i : store_.instances()) {
    const bool meant = named ? i.name == domain.name : i.uuid == domain.uuid;
    if (meant && i.stage == Stage::incoming) return std::move(i);
  }
  return std::nullopt;
}

Instance QmpHost::active(const DomainRef& domain) const {
  std::optional<Instance> found = instance(domain.uuid);
  if (found) return *std::move(found);
  if (store_.definition(domain.uuid))
    throw Error(ErrorId::invalid_state,
                fmt::format("domain '{}' is not running", escaped(domain.name)));
  throw Error(ErrorId::no_domain, fmt::format("no domain '{}'", escaped(domain.name)));
}

Task<std::shared_ptr<Client>> QmpHost::monitor(const Instance& instance) {
  const auto known = monitors_.find(instance.dir);
  if (known != monitors_.end() && !known->second.client->lost()) co_return known->second.client;
  drop_monitor(instance);
  Task<std::shared_ptr<Client>> connecting = connect(instance);
  std::shared_ptr<Client> client = co_await std::move(connecting);
  co_return client;
}

// Who still uses it must not keep QEMU's monitor from whoever gets the lock next.
void QmpHost::drop_monitor(const Instance& instance) {
  const auto known = monitors_.find(instance.dir);
  if (known == monitors_.end()) return;
  known->second.client->close();
  monitors_.erase(known);
}

// Every monitor serves one client; whoever has its lock may connect to it. One that does not greet
// is left for the next.
Task<Monitor> QmpHost::try_monitor(const Instance& instance, bool& silent) {
  for (std::size_t i = 0; i < instance.monitors.size(); ++i) {
    std::optional<Fd> lock = try_lock(instance.lock_of(i));
    if (!lock) continue;
    Task<std::unique_ptr<Stream>> dialling = env_.dial(instance.monitors[i]);
    std::unique_ptr<Stream> stream = co_await std::move(dialling);
    Task<std::unique_ptr<Client>> opening = Client::open(std::move(stream), env_.clock, kGreeting);
    auto client = co_await settle(std::move(opening));
    if (client) co_return Monitor{*std::move(client), *std::move(lock)};
    if (client.error().id != ErrorId::timed_out) throw Error(client.error());
    silent = true;
  }
  co_return Monitor{};
}

Task<std::shared_ptr<Client>> QmpHost::connect(const Instance& instance) {
  const Micros began = env_.clock.now();
  bool silent = false;  // it may be starting
  for (;;) {
    Task<Monitor> trying = try_monitor(instance, silent);
    Monitor got = co_await std::move(trying);
    // Somebody else of ours may have been quicker; two would be one lock for two connections.
    const auto known = monitors_.find(instance.dir);
    const bool twice = known != monitors_.end() && !known->second.client->lost();
    if (twice && got.client) got.client->close();
    if (twice) co_return known->second.client;
    if (got.client) {
      drop_monitor(instance);
      std::shared_ptr<Client> client = got.client;
      monitors_[instance.dir] = std::move(got);
      co_return client;
    }
    const Micros waited = env_.clock.now() - began;
    if (silent && waited >= kStartLimit)
      throw Error(ErrorId::timed_out, fmt::format("QEMU of domain '{}' does not greet on its "
                                                  "monitors",
                                                  escaped(instance.name)));
    if (!silent && waited >= kMonitorLimit)
      throw Error(ErrorId::busy,
                  fmt::format("all monitors of domain '{}' are in use", escaped(instance.name)));
    co_await env_.clock.sleep(Millis(50));
  }
}

Task<Instance> QmpHost::launch(NewProcess process, bool incoming) {
  Instance i;
  i.dir = store_.new_instance_dir(process.uuid);
  i.name = process.name;
  i.uuid = process.uuid;
  i.argv = process.argv;
  i.xml = process.xml;
  i.stage = process.stage;
  i.migration = process.migration;
  i.transient = process.transient;
  i.same_kernel = process.same_kernel;
  i.shared_ram = process.memory ? process.shared_ram : 0;
  i.directory = process.directory;
  i.pid_file = process.pid_file;
  i.renames = process.renames;
  i.afterwards = process.afterwards;
  i.made = process.made;
  const std::string log = store_.log_of(process.uuid);
  const std::size_t log_before = size_of(log);
  try {
    std::vector<Fd> sockets;
    Launch start;
    for (int n = 0; n < kMonitors; ++n) {
      i.monitors.push_back(fmt::format("{}/m{}", i.dir, n));
      sockets.push_back(listen_unix(i.monitors.back()));
      start.keep.push_back(sockets.back().get());
    }
    if (process.memory) start.keep.push_back(process.memory.get());
    for (const Fd& fd : process.inherited) start.keep.push_back(fd.get());
    start.argv = complete(process, sockets, incoming);
    start.log = log;
    start.directory = process.directory;
    start.pid_file = i.dir + "/pid";
    i.process = spawn(start);
    store_.save(i);
  } catch (...) {
    remove_all(i.dir);
    throw;
  }
  process.memory = Fd();
  process.inherited.clear();
  if (!process.channels.empty()) co_return i;
  Task<std::shared_ptr<Client>> opening = monitor(i);
  const auto opened = co_await settle(std::move(opening));
  if (opened) co_return i;
  co_await shield();
  Task<> ending = end(i);
  const auto ended = co_await settle(std::move(ending));
  if (opened.error().id == ErrorId::cancelled) throw Error(opened.error());
  Error error(ErrorId::hypervisor_died,
              fmt::format("QEMU did not start: {}", last_words(log, log_before)));
  error.note(opened.error().message);
  error.remedy = "Look at its log, " + log + ".";
  if (!ended) error.note(ended.error().message);
  throw error;
}

static void remove_files(const Store& store, const Instance& instance) {
  for (const auto& [temporary, real] : instance.renames) ::unlink(temporary.c_str());
  if (instance.stage == Stage::incoming)
    for (const std::string& image : instance.made) ::unlink(image.c_str());
  const std::string pid = fmt::format("{}", instance.process.pid);
  const bool named =
      !instance.pid_file.empty() && trimmed(read_file(instance.pid_file).value_or("")) == pid;
  if (named) ::unlink(instance.pid_file.c_str());
  store.remove(instance);
}

Task<> QmpHost::end(Instance instance) {
  co_await shield();
  drop_monitor(instance);
  Task<> killing = kill_and_wait(instance.process, env_.clock);
  co_await std::move(killing);
  remove_files(store_, instance);
}

// As libvirt's daemons do it: an incoming guest ends with the connection that made it, unless it
// may have run. Without waiting: a process that was sent SIGKILL never does anything more.
void QmpHost::abandon_arrivals() noexcept {
  for (const auto& [uuid, arrival] : arrivals_) {
    if (!arrival.ends_with_us) continue;
    try {
      const std::optional<Instance> i = by_migration(arrival.migration);
      if (!i || i->stage != Stage::incoming) continue;
      const auto started = store_.settle_started(arrival.migration);
      if (!started || *started) continue;
      kill_now(i->process);
      remove_files(store_, *i);
    } catch (const Error& error) {
      notice(fmt::format("an incoming guest may be left over (`vmferry cleanup` ends it): {}",
                         error.message));
    }
  }
  arrivals_.clear();
}

// What went wrong, or nothing. A command for people fails with words, which are its answer.
static Task<std::string> trouble_of(Client& client, const Afterwards& one) {
  const std::string what = one.command + " " + one.arguments.dump();
  const auto answer = co_await settle(client.execute(one.command, one.arguments));
  if (!answer) co_return fmt::format("{}: {}", what, answer.error().message);
  const bool words = answer->is_string() && !trimmed(answer->get<std::string>()).empty();
  if (!words || what.contains("gdbserver")) co_return "";
  co_return fmt::format("{}: {}", what, escaped_lines(answer->get<std::string>()));
}

Task<std::vector<std::string>> QmpHost::run_afterwards(const Instance& i) {
  std::vector<std::string> troubles;
  if (i.afterwards.empty()) co_return troubles;
  std::shared_ptr<Client> client = co_await monitor(i);
  for (const Afterwards& one : i.afterwards) {
    std::string trouble = co_await trouble_of(*client, one);
    if (!trouble.empty()) troubles.push_back(std::move(trouble));
  }
  co_return troubles;
}

Task<std::vector<std::string>> QmpHost::take_names(Instance& i) {
  std::vector<std::string> troubles = co_await run_afterwards(i);
  for (const auto& [temporary, real] : i.renames)
    if (std::rename(temporary.c_str(), real.c_str()) != 0)
      troubles.push_back(io_error("cannot rename to", real, errno).message);
  if (!i.pid_file.empty()) {
    try {
      write_atomically(i.pid_file, fmt::format("{}\n", i.process.pid), Outlives::program);
    } catch (const Error& error) {
      troubles.push_back(error.message);
    }
  }
  i.renames.clear();
  i.afterwards.clear();
  store_.save(i);
  co_return troubles;
}

}  // namespace vmferry::qmp
