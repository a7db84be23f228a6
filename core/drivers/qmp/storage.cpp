#include "core/drivers/qmp/storage.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <set>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/files.hpp"
#include "core/drivers/qmp/option_value.hpp"
#include "core/drivers/qmp/process.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::string_view kPrefix = "vmferry-";  ///< of our jobs, exports and nodes
constexpr int kFirstPort = 49152, kLastPort = 49215;

std::string job_of(const DiskToCopy& disk) { return std::string(kPrefix) + disk.name; }
std::string node_of(const DiskToCopy& disk) { return fmt::format("{}nbd-{}", kPrefix, disk.name); }

std::string identity_of(const std::string& path) {
  struct stat info{};
  if (!path.starts_with('/') || ::stat(path.c_str(), &info) != 0) return {};
  // The numbers mean something on one machine only.
  return fmt::format("{}:{}:{}", machine_token(), info.st_dev, info.st_ino);
}

struct Drive {
  DiskToCopy disk;
  bool read_only = false;
};

Task<std::vector<Drive>> drives(Client& client) {
  const Json blocks = co_await client.execute("query-block");
  std::vector<Drive> out;
  if (!blocks.is_array()) co_return out;
  for (const Json& block : blocks) {
    const Json& inserted = at(block, "inserted");
    if (!inserted.is_object()) continue;
    Drive one;
    one.disk.node = text_at(inserted, "node-name");
    one.disk.name = text_at(block, "device");
    if (one.disk.name.empty()) one.disk.name = one.disk.node;
    const Json& image = at(inserted, "image");
    one.disk.file = text_at(image, "filename");
    one.disk.format = text_at(inserted, "drv");
    one.disk.bytes = static_cast<std::uint64_t>(number_at(image, "virtual-size"));
    one.disk.identity = identity_of(one.disk.file);
    one.read_only = flag_at(inserted, "ro");
    out.push_back(std::move(one));
  }
  co_return out;
}

// "vda" of the XML is the drive that was made of that element.
std::string drive_of_target(const std::string& xml, const std::string& target) {
  const Result<xml::Doc> doc = xml::Doc::parse(xml);
  int number = 0;
  if (doc)
    for (const xml::Node& disk : doc->root().at("devices").children("disk")) {
      if (disk.at("target").get("dev") == target) return fmt::format("disk{}", number);
      ++number;
    }
  return target;
}

Task<> serve_nbd(Client& client, Json address) {
  const std::string type = text_at(address, "type");
  address.erase("type");
  Json where = {{"addr", {{"type", type}, {"data", std::move(address)}}}};
  co_await client.execute("nbd-server-start", std::move(where));
}

// One try for each port: none is chosen that someone else takes meanwhile.
Task<Json> start_server(Client& client, Json server) {
  const bool any = text_at(server, "type") == "inet" && text_at(server, "port").empty();
  if (!any) {
    co_await serve_nbd(client, server);
    co_return server;
  }
  for (int port = kFirstPort; port <= kLastPort; ++port) {
    server["port"] = fmt::format("{}", port);
    Task<> starting = serve_nbd(client, server);
    const auto started = co_await settle(std::move(starting));
    if (started) co_return server;
    if (started.error().message.find("in use") == std::string::npos) throw Error(started.error());
  }
  throw Error(ErrorId::ports_used,
              fmt::format("no port of {} to {} is free for the disks", kFirstPort, kLastPort));
}

Task<Event> end_of_job(Client& client, Cursor& cursor, std::string job) {
  const auto ended = [job](const Event& e) {
    return (e.name == "BLOCK_JOB_COMPLETED" || e.name == "BLOCK_JOB_CANCELLED") &&
           text_at(e.data, "device") == job;
  };
  Task<Event> waiting = client.wait_event(cursor, ended);
  Event event = co_await std::move(waiting);
  co_return event;
}

Task<> start_mirror(Client& client, const Mirrors& mirrors, const DiskToCopy& disk) {
  Json node = {{"driver", "nbd"},
               {"node-name", node_of(disk)},
               {"server", mirrors.server},
               {"export", disk.name},
               {"discard", "unmap"}};
  co_await client.execute("blockdev-add", std::move(node));
  Json job = {{"job-id", job_of(disk)},
              {"device", disk.node},
              {"target", node_of(disk)},
              {"sync", mirrors.increments ? "top" : "full"}};
  if (mirrors.synchronous) job["copy-mode"] = "write-blocking";
  if (mirrors.bytes_per_second != 0) job["speed"] = mirrors.bytes_per_second;
  co_await client.execute("blockdev-mirror", std::move(job));
}

}  // namespace

Json to_json(const std::vector<DiskToCopy>& disks) {
  Json out = Json::array();
  for (const DiskToCopy& d : disks)
    out.push_back({{"name", d.name},
                   {"node", d.node},
                   {"file", d.file},
                   {"format", d.format},
                   {"bytes", d.bytes},
                   {"identity", d.identity}});
  return out;
}

std::vector<DiskToCopy> disks_from(const Json& list) {
  std::vector<DiskToCopy> out;
  if (!list.is_array() || list.size() > 256) return out;
  for (const Json& one : list)
    out.push_back({.name = text_at(one, "name"),
                   .node = text_at(one, "node"),
                   .file = text_at(one, "file"),
                   .format = text_at(one, "format"),
                   .bytes = static_cast<std::uint64_t>(number_at(one, "bytes")),
                   .identity = text_at(one, "identity")});
  return out;
}

Task<std::vector<DiskToCopy>> disks_to_copy(Client& client, std::string xml, Params params) {
  std::vector<std::string> wanted;
  for (const TypedParam& p : params.items)
    if (const auto* name = std::get_if<std::string>(&p.value); name && p.field == "migrate_disks")
      wanted.push_back(drive_of_target(xml, *name));
  const std::vector<Drive> all = co_await drives(client);
  std::vector<DiskToCopy> out;
  for (const std::string& name : wanted) {
    const auto one = std::ranges::find_if(all, [&](const Drive& d) { return d.disk.name == name; });
    if (one == all.end())
      throw Error(ErrorId::usage, fmt::format("there is no disk '{}'", escaped(name)));
    if (one->read_only)
      throw Error(ErrorId::usage,
                  fmt::format("disk '{}' is read-only: there is nothing to copy", escaped(name)));
    out.push_back(one->disk);
  }
  if (wanted.empty())
    for (const Drive& drive : all)
      if (!drive.read_only) out.push_back(drive.disk);
  co_return out;
}

Task<Json> export_disks(Client& client, std::vector<DiskToCopy> theirs, Json server) {
  const std::vector<Drive> all = co_await drives(client);
  std::vector<std::pair<std::string, std::string>> exports;
  for (const DiskToCopy& disk : theirs) {
    const auto mine =
        std::ranges::find_if(all, [&](const Drive& d) { return d.disk.name == disk.name; });
    if (mine == all.end())
      throw Error(ErrorId::image_missing,
                  fmt::format("there is no disk '{}' on the destination", escaped(disk.name)));
    if (!disk.identity.empty() && mine->disk.identity == disk.identity)
      throw Error(ErrorId::unsafe,
                  fmt::format("disk '{}' is one and the same file on both sides, {}: a copy would "
                              "destroy it",
                              escaped(disk.name), escaped(disk.file, 400)))
          .advise("Leave --copy-storage out, or name another file with --xml.");
    if (mine->disk.bytes != disk.bytes)
      throw Error(ErrorId::config_unsupported,
                  fmt::format("disk '{}' has {} bytes on the source and {} on the destination",
                              escaped(disk.name), disk.bytes, mine->disk.bytes));
    exports.emplace_back(disk.name, mine->disk.node);
  }
  Task<Json> starting = start_server(client, std::move(server));
  Json started = co_await std::move(starting);
  for (const auto& [name, node] : exports) {
    Json one = {{"type", "nbd"},
                {"id", std::string(kPrefix) + name},
                {"node-name", node},
                {"name", name},
                {"writable", true}};
    co_await client.execute("block-export-add", std::move(one));
  }
  co_return started;
}

std::vector<std::string> make_images(const std::vector<std::string>& argv,
                                     const std::string& directory,
                                     const std::vector<DiskToCopy>& disks) {
  std::vector<std::string> made;
  for (std::size_t i = 1; i + 1 < argv.size(); ++i) {
    if (option_name(argv[i]) != "drive") continue;
    const OptionValue drive(argv[i + 1]);
    const std::string id = drive.get("id").value_or(""), given = drive.get("file").value_or("");
    const auto disk = std::ranges::find_if(disks, [&](const auto& d) { return d.name == id; });
    if (disk == disks.end() || given.empty()) continue;
    const std::string path = given.starts_with('/') ? given : directory + "/" + given;
    if (::access(path.c_str(), F_OK) == 0 || errno != ENOENT) continue;  // QEMU says what is wrong
    const std::string format = drive.get("format").value_or("");
    if (format != "raw") {
      for (const std::string& one : made) ::unlink(one.c_str());
      throw Error(ErrorId::image_missing, fmt::format("{} is not there", escaped(path)))
          .advise(fmt::format("Make it: qemu-img create -f {} '{}' {}",
                              format.empty() ? "FORMAT" : format, path, disk->bytes));
    }
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) throw io_error("cannot make", path, errno);
    made.push_back(path);
    if (::ftruncate(file.get(), static_cast<off_t>(disk->bytes)) == 0) continue;
    const int why = errno;
    for (const std::string& one : made) ::unlink(one.c_str());
    throw io_error("cannot size", path, why);
  }
  return made;
}

static Task<> sync_all(const std::vector<Fd>& files) {
  for (const Fd& file : files) ::fdatasync(file.get());
  co_return;
}

// On a thread of its own, as it can take seconds.
Task<> flush_images(Client& client) {
  const Json blocks = co_await client.execute("query-block");
  std::vector<Fd> files;
  if (!blocks.is_array()) co_return;
  for (const Json& block : blocks) {
    const Json& inserted = at(block, "inserted");
    const std::string path = text_at(inserted, "file");
    if (flag_at(inserted, "ro") || !path.starts_with('/')) continue;
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file) files.push_back(std::move(file));
  }
  if (files.empty()) co_return;
  asio::thread_pool pool(1);
  co_await asio::co_spawn(pool, sync_all(files), asio::use_awaitable);
}

Task<> mirror(Client& client, const Mirrors& mirrors) {
  Cursor cursor = client.cursor();
  std::set<std::string> waited_for;
  for (const DiskToCopy& disk : mirrors.disks) {
    Task<> starting = start_mirror(client, mirrors, disk);
    co_await std::move(starting);
    waited_for.insert(job_of(disk));
  }
  while (!waited_for.empty()) {
    const Event event = co_await client.next_event(cursor);
    const std::string job = text_at(event.data, "device");
    if (!waited_for.contains(job)) continue;
    if (event.name == "BLOCK_JOB_READY") waited_for.erase(job);
    if (event.name == "BLOCK_JOB_CANCELLED")
      throw Error(ErrorId::cancelled, "the copy of the disks was cancelled");
    if (event.name == "BLOCK_JOB_COMPLETED")
      throw Error(
          ErrorId::migrate_failed,
          fmt::format("the copy of disk '{}' failed: {}", escaped(job.substr(kPrefix.size())),
                      escaped_lines(text_at(event.data, "error", "it ended"))));
  }
}

Task<> end_mirrors(Client& client, const Mirrors& mirrors) {
  for (const DiskToCopy& disk : mirrors.disks) {
    Cursor cursor = client.cursor();
    Json which = {{"device", job_of(disk)}};
    co_await client.execute("block-job-cancel", std::move(which));
    Task<Event> ending = end_of_job(client, cursor, job_of(disk));
    const Event event = co_await std::move(ending);
    const std::string error = text_at(event.data, "error");
    if (event.name != "BLOCK_JOB_COMPLETED" || !error.empty())
      throw Error(ErrorId::migrate_failed,
                  fmt::format("the copy of disk '{}' failed: {}", escaped(disk.name),
                              error.empty() ? "it was cancelled" : escaped_lines(error)));
    Json node = {{"node-name", node_of(disk)}};
    co_await client.execute("blockdev-del", std::move(node));
  }
}

static Task<std::vector<std::string>> mirror_nodes(Client& client) {
  const Json nodes = co_await client.execute("query-named-block-nodes");
  std::vector<std::string> names;
  if (!nodes.is_array()) co_return names;
  for (const Json& node : nodes) {
    std::string name = text_at(node, "node-name");
    if (name.starts_with(kPrefix)) names.push_back(std::move(name));
  }
  co_return names;
}

Task<> drop_mirrors(Client& client) {
  const Json jobs = co_await client.execute("query-block-jobs");
  if (jobs.is_array())
    for (const Json& job : jobs) {
      const std::string name = text_at(job, "device");
      if (!name.starts_with(kPrefix)) continue;
      Cursor cursor = client.cursor();
      Json which = {{"device", name}, {"force", true}};
      Task<Json> cancelling = client.execute("block-job-cancel", std::move(which));
      const auto cancelled = co_await settle(std::move(cancelling));
      if (!cancelled) continue;  // it has ended by itself
      Task<Event> ending = end_of_job(client, cursor, name);
      co_await std::move(ending);
    }
  const std::vector<std::string> nodes = co_await mirror_nodes(client);
  std::optional<Error> refused;
  for (const std::string& name : nodes) {
    Json which = {{"node-name", name}};
    Task<Json> deleting = client.execute("blockdev-del", std::move(which));
    const auto deleted = co_await settle(std::move(deleting));
    if (!deleted) refused = deleted.error();
  }
  if (!refused) co_return;
  // At an abort the migration's own client does the same, and may have been faster.
  const std::vector<std::string> left = co_await mirror_nodes(client);
  if (!left.empty()) throw *std::move(refused);
}

bool add_disk_figures(const Json& jobs, Params& fields) {
  std::uint64_t total = 0, done = 0;
  bool any = false;
  if (jobs.is_array())
    for (const Json& job : jobs)
      if (text_at(job, "device").starts_with(kPrefix)) {
        any = true;
        total += static_cast<std::uint64_t>(std::max<std::int64_t>(number_at(job, "len"), 0));
        done += static_cast<std::uint64_t>(std::max<std::int64_t>(number_at(job, "offset"), 0));
      }
  if (!any) return false;
  fields.set("disk_total", total);
  fields.set("disk_processed", done);
  fields.set("disk_remaining", total - std::min(done, total));
  return true;
}

}  // namespace vmferry::qmp
