#include "core/drivers/qmp/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <random>

#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

constexpr int kVersion = 1;

std::string_view text(Stage stage) {
  switch (stage) {
    case Stage::incoming:
      return "incoming";
    case Stage::active:
      return "active";
    case Stage::handed_over:
      return "handed-over";
  }
  return "handed-over";
}

// What is not understood must never run.
Stage stage_from(const std::string& word) {
  for (const Stage s : {Stage::incoming, Stage::active})
    if (word == text(s)) return s;
  return Stage::handed_over;
}

std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> out;
  if (!list.is_array()) return out;
  for (const Json& item : list)
    if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}

Json to_json(const std::vector<Afterwards>& commands) {
  Json out = Json::array();
  for (const Afterwards& one : commands)
    out.push_back({{"command", one.command}, {"arguments", one.arguments}});
  return out;
}

Json to_json(const Instance& i) {
  return {{"version", kVersion},
          {"name", i.name},
          {"uuid", to_string(i.uuid)},
          {"pid", i.process.pid},
          {"start", i.process.start},
          {"argv", i.argv},
          {"shared_ram", i.shared_ram},
          {"stage", text(i.stage)},
          {"migration", i.migration},
          {"held", i.held},
          {"transient", i.transient},
          {"same_kernel", i.same_kernel},
          {"xml", i.xml},
          {"monitors", i.monitors},
          {"directory", i.directory},
          {"pid_file", i.pid_file},
          {"adopted", i.adopted},
          {"postcopy", i.postcopy},
          {"went_to", {i.went_to.run, i.went_to.state}},
          {"speed", i.speed},
          {"downtime", i.downtime},
          {"cannot", i.cannot},
          {"here_only", i.here_only},
          {"renames", i.renames},
          {"made", i.made},
          {"afterwards", to_json(i.afterwards)}};
}

std::optional<Instance> instance_from(const std::string& dir) {
  // Empty after a crash of the machine, which no process has survived.
  const std::string path = dir + "/instance.json";
  std::error_code failure;
  if (std::filesystem::file_size(path, failure) == 0 || failure) return std::nullopt;
  const std::optional<Json> json = read_json(path);
  if (!json || number_at(*json, "version") != kVersion) return std::nullopt;
  const auto uuid = parse_uuid(text_at(*json, "uuid"));
  if (!uuid) return std::nullopt;
  Instance i;
  i.dir = dir;
  i.name = text_at(*json, "name");
  i.uuid = *uuid;
  i.process = {static_cast<std::int32_t>(number_at(*json, "pid")),
               static_cast<std::uint64_t>(number_at(*json, "start"))};
  i.argv = strings(at(*json, "argv"));
  i.shared_ram = static_cast<std::uint64_t>(number_at(*json, "shared_ram"));
  i.stage = stage_from(text_at(*json, "stage"));
  i.migration = text_at(*json, "migration");
  i.held = flag_at(*json, "held");
  i.transient = flag_at(*json, "transient");
  i.same_kernel = flag_at(*json, "same_kernel");
  i.xml = text_at(*json, "xml");
  i.monitors = strings(at(*json, "monitors"));
  i.directory = text_at(*json, "directory", "/");
  i.pid_file = text_at(*json, "pid_file");
  i.adopted = flag_at(*json, "adopted");
  i.postcopy = flag_at(*json, "postcopy");
  const std::vector<std::string> went_to = strings(at(*json, "went_to"));
  if (went_to.size() == 2) i.went_to = {went_to[0], went_to[1]};
  i.speed = static_cast<std::uint64_t>(number_at(*json, "speed"));
  i.downtime = static_cast<std::uint64_t>(number_at(*json, "downtime"));
  i.cannot = strings(at(*json, "cannot"));
  i.made = strings(at(*json, "made"));
  i.here_only = strings(at(*json, "here_only"));
  const Json& afterwards = at(*json, "afterwards");
  if (afterwards.is_array())
    for (const Json& one : afterwards)
      i.afterwards.push_back({text_at(one, "command"), at(one, "arguments")});
  const Json& renames = at(*json, "renames");
  if (renames.is_array())
    for (const Json& pair : renames)
      if (const auto names = strings(pair); names.size() == 2)
        i.renames.emplace_back(names[0], names[1]);
  return i;
}

}  // namespace

void mark_aborted(const Instance& i) {
  write_atomically(i.dir + "/aborted", i.migration, Outlives::program);
}
bool was_aborted(const Instance& i) { return read_file(i.dir + "/aborted") == i.migration; }

Result<Places> places_of(const ConnectUri& uri, const Environment& environment) {
  if (const auto dir = uri.uri.param("dir")) {
    if (!dir->starts_with('/'))
      return fail(ErrorId::uri_invalid, "dir= in a qmp URI must be an absolute path");
    return Places{*dir + "/run", *dir + "/state"};
  }
  if (!uri.session() && uri.uri.path != "/system")
    return fail(ErrorId::uri_invalid, "a qmp URI ends in /system or /session");
  if (!uri.session()) return Places{"/run/vmferry", "/var/lib/vmferry"};
  const std::string home = environment("HOME").value_or("");
  const std::string state = environment("XDG_STATE_HOME").value_or(home + "/.local/state");
  if (!state.starts_with('/')) return fail(ErrorId::uri_invalid, "HOME is not set");
  const std::string run = environment("XDG_RUNTIME_DIR").value_or(state + "/vmferry-run");
  return Places{run + "/vmferry", state + "/vmferry"};
}

Store::Store(Places places) : places_(std::move(places)) {
  for (const char* dir : {"/domains", "/migrations", "/logs"})
    make_private_dir(places_.state + dir);
  make_private_dir(places_.run);
}

std::vector<Definition> Store::definitions() const {
  std::vector<Definition> out;
  for (const std::string& name : entries(places_.state + "/domains")) {
    if (!name.ends_with(".json")) continue;
    const auto uuid = parse_uuid(name.substr(0, name.size() - 5));
    std::optional<Definition> d = uuid ? definition(*uuid) : std::nullopt;
    if (d) out.push_back(*std::move(d));
  }
  return out;
}

std::optional<Definition> Store::definition(const Uuid& uuid) const {
  const auto json = read_json(fmt::format("{}/domains/{}.json", places_.state, to_string(uuid)));
  if (!json) return std::nullopt;
  return value_or_throw(read_definition(text_at(*json, "xml")));
}

void Store::save(const Definition& d) const {
  const Json json = {{"version", kVersion}, {"name", d.name}, {"xml", d.xml}};
  write_atomically(fmt::format("{}/domains/{}.json", places_.state, to_string(d.uuid)),
                   json.dump(1) + "\n");
}

void Store::forget(const Uuid& uuid) const {
  remove_all(fmt::format("{}/domains/{}.json", places_.state, to_string(uuid)));
}

std::vector<Instance> Store::instances() const {
  std::vector<Instance> out;
  for (const std::string& name : entries(places_.run)) {
    const std::string dir = places_.run + "/" + name;
    std::optional<Instance> i = instance_from(dir);
    if (!i) continue;
    if (alive(i->process))
      out.push_back(*std::move(i));
    else
      remove_all(dir);
  }
  return out;
}

std::string Store::new_instance_dir(const Uuid& uuid) const {
  std::random_device random;
  const std::string dir = fmt::format("{}/{}.{:08x}", places_.run, to_string(uuid), random());
  make_private_dir(dir);
  return dir;
}

void Store::save(const Instance& i) const {
  write_atomically(i.dir + "/instance.json",
                   to_json(i).dump(1, ' ', false, Json::error_handler_t::replace) + "\n",
                   Outlives::program);
}

std::string Store::log_of(const Uuid& uuid) const {
  return fmt::format("{}/logs/{}.log", places_.state, to_string(uuid));
}

std::vector<std::string> Store::unfinished() const {
  std::vector<std::string> out;
  for (const std::string& name : entries(places_.run)) {
    const std::string dir = places_.run + "/" + name;
    const std::size_t dot = name.find('.');
    const bool ours = dot != std::string::npos && parse_uuid(name.substr(0, dot)).has_value();
    if (ours && !name.ends_with(".job") && !instance_from(dir)) out.push_back(dir);
  }
  return out;
}

std::string Store::record_of(const std::string& migration) const {
  if (!parse_uuid(migration))
    throw Error(ErrorId::protocol, "a migration cookie has no proper migration id");
  return fmt::format("{}/migrations/{}", places_.state, migration);
}

namespace {
// Always as long, so that it can be overwritten in place: `starting` is part of the guest's pause,
// and one flush of data is the least that outlives the machine.
std::string record_text(const char* word) {
  std::string text = Json{{"version", kVersion}, {"guest", word}}.dump();
  text.resize(64, ' ');
  return text;
}
void write_record(const std::string& path, const char* word, Outlives what) {
  const std::string file = path + ".json", text = record_text(word);
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return write_atomically(file, text, what);
  if (::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      (what == Outlives::machine && ::fdatasync(fd.get()) != 0))
    throw io_error("cannot write", file, errno);
}
// Nobody asks for a migration of last week any more.
void prune_records(const std::string& dir) {
  constexpr std::time_t kept = 7 * 24 * 3600;
  for (const std::string& name : entries(dir)) {
    const std::string path = dir + "/" + name;
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0 && info.st_mtime + kept < std::time(nullptr))
      remove_all(path);
  }
}
std::string read_record(const std::string& path) {
  const std::optional<Json> json = read_json(path + ".json");
  return json ? text_at(*json, "guest", "started") : std::string();
}
// Held for the moment that it takes to read and write one record.
Fd lock_record(const std::string& path) {
  for (int tries = 0; tries < 200; ++tries) {
    std::optional<Fd> lock = try_lock(path + ".lock");
    if (lock) return *std::move(lock);
    ::usleep(1000);
  }
  throw Error(ErrorId::busy, "the record of a migration is held by another process");
}
}  // namespace

void Store::expect(const std::string& migration, Outlives what) const {
  const std::string path = record_of(migration);
  prune_records(places_.state + "/migrations");
  write_record(path, "expected", what);
}

void Store::forget_migration(const std::string& migration) const {
  const std::string path = record_of(migration);
  remove_all(path + ".json");
  remove_all(path + ".lock");
}

void Store::starting(const std::string& migration, Outlives what) const {
  const std::string path = record_of(migration);
  const Fd lock = lock_record(path);
  if (read_record(path) == "never")
    throw Error(ErrorId::invalid_state,
                "it has been settled meanwhile that this guest does not start here");
  write_record(path, "started", what);
}

void Store::not_started(const std::string& migration) const {
  const std::string path = record_of(migration);
  const Fd lock = lock_record(path);
  write_record(path, "never", Outlives::machine);
}

std::optional<bool> Store::settle_started(const std::string& migration) const {
  const std::string path = record_of(migration);
  const Fd lock = lock_record(path);
  const std::string word = read_record(path);
  if (word.empty()) return std::nullopt;
  if (word == "started") return true;
  write_record(path, "never", Outlives::machine);
  return false;
}

Fd Store::lock_domain(const Uuid& uuid) const {
  std::optional<Fd> lock = try_lock(fmt::format("{}/{}.job", places_.run, to_string(uuid)));
  if (!lock)
    throw Error(ErrorId::job_active,
                fmt::format("another vmferry works on domain {}", to_string(uuid)));
  return *std::move(lock);
}

}  // namespace vmferry::qmp
