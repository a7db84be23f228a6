// Taking over a QEMU that someone else started.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/inherit.hpp"
#include "core/drivers/qmp/option_value.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

constexpr Micros kGreeting = std::chrono::seconds(5);

std::string id_in(const std::string& value) {
  if (!value.starts_with('{')) return sub_option(value, "id").value_or("");
  const Result<Json> json = parse_json(value);
  return json ? text_at(*json, "id") : std::string();
}

class Adoption {
 public:
  Adoption(QmpHost& host, AdoptOptions options) : host_(host), options_(std::move(options)) {}

  Task<AdoptReport> run() {
    const Listening listening = listener_of(options_.socket, options_.pid);
    const std::int32_t pid = listening.pid;
    for (const Instance& i : host_.store().instances())
      if (i.process.pid == pid)
        throw Error(ErrorId::exists,
                    fmt::format("process {} is domain '{}' already", pid, escaped(i.name)));
    seen_ = observe(pid);
    if (!listening.directory.empty() && listening.directory != seen_.directory) {
      seen_.directory = listening.directory;
      seen_.went_away = true;
    }
    if (seen_.uid != ::geteuid())
      throw Error(ErrorId::denied,
                  fmt::format("process {} runs as user {}; what follows it would run as {}", pid,
                              seen_.uid, ::geteuid()))
          .advise("Run vmferry as that user.");
    if (seen_.argv.empty()) throw Error(ErrorId::invalid_state, "the process has no command line");
    heir_ = inherit(seen_);
    client_ = co_await reach();
    co_await ask_state();
    co_await compare_devices();
    co_await look_at_disks();
    co_await look_at_graphics();
    describe_process();
    if (!options_.dry_run) save();
    client_->close();
    report_.cannot = heir_.cannot;
    report_.here_only = heir_.here_only;
    report_.remarks = heir_.remarks;
    co_return report_;
  }

 private:
  void remark(std::string text) { heir_.remarks.push_back(std::move(text)); }
  void cannot(std::string text) { heir_.cannot.push_back(std::move(text)); }
  void fact(std::string name, std::string value) {
    report_.facts.emplace_back(std::move(name), std::move(value));
  }

  Task<std::unique_ptr<Client>> reach() {
    Task<std::unique_ptr<Stream>> dialling = host_.dial(options_.socket);
    std::unique_ptr<Stream> stream = co_await std::move(dialling);
    Task<std::unique_ptr<Client>> opening =
        Client::open(std::move(stream), host_.clock(), kGreeting);
    auto client = co_await settle(std::move(opening));
    if (client) co_return *std::move(client);
    Error error = std::move(client).error();
    if (error.id == ErrorId::timed_out)
      error = Error(ErrorId::busy, fmt::format("the monitor {} does not greet: it serves one "
                                               "client at a time, and another tool holds it",
                                               escaped(options_.socket)))
                  .advise("End the other tool's connection, or name a monitor of its own.");
    throw error;
  }

  Task<> ask_state() {
    const Json state = co_await client_->execute("query-status");
    const std::string word = text_at(state, "status");
    if (word == "inmigrate" || word == "postmigrate")
      throw Error(ErrorId::invalid_state,
                  fmt::format("this QEMU is one side of a migration (status '{}'), not a guest",
                              escaped(word)));
    const Json info = co_await client_->execute("query-migrate");
    const Json& reasons = at(info, "blocked-reasons");
    if (reasons.is_array())
      for (const Json& reason : reasons)
        if (reason.is_string()) cannot("QEMU says: " + escaped_lines(reason.get<std::string>()));
    const Json name = co_await client_->execute("query-name");
    const Json uuid = co_await client_->execute("query-uuid");
    report_.machine = co_await real_machine(*client_);
    report_.version = client_->version_text();
    instance_.name = !options_.name.empty() ? options_.name : text_at(name, "name");
    if (instance_.name.empty()) instance_.name = fmt::format("qemu-{}", seen_.process.pid);
    const auto known = parse_uuid(text_at(uuid, "UUID"));
    const bool none = !known || *known == Uuid{};
    instance_.uuid = none ? random_uuid() : *known;
    if (none)
      remark("it has no UUID: after its next boot in another process the guest sees " +
             to_string(instance_.uuid));
  }

  // What was plugged in or taken out since is not in the command line.
  Task<> compare_devices() {
    Json what = {{"path", "/machine/peripheral"}};
    const Json list = co_await client_->execute("qom-list", std::move(what));
    std::vector<std::string> there, typed;
    if (list.is_array())
      for (const Json& entry : list)
        if (text_at(entry, "type").starts_with("child<")) there.push_back(text_at(entry, "name"));
    for (std::size_t i = 1; i + 1 < heir_.argv.size(); ++i)
      if (option_name(heir_.argv[i]) == "device") typed.push_back(id_in(heir_.argv[i + 1]));
    for (const std::string& id : there)
      if (std::ranges::find(typed, id) == typed.end())
        cannot(
            fmt::format("device '{}' was plugged in after the start: another process would not "
                        "have it",
                        escaped(id)));
    for (const std::string& id : typed)
      if (!id.empty() && std::ranges::find(there, id) == there.end())
        cannot(
            fmt::format("device '{}' was taken out after the start: another process would have "
                        "it",
                        escaped(id)));
  }

  bool typed(const std::string& text) const {
    return std::ranges::any_of(
        heir_.argv, [&](const std::string& w) { return w.find(text) != std::string::npos; });
  }

  Task<> look_at_disks() {
    const Json blocks = co_await client_->execute("query-block");
    if (!blocks.is_array()) co_return;
    for (const Json& block : blocks) one_disk(block);
  }

  void one_disk(const Json& block) {
    const Json& inserted = at(block, "inserted");
    std::string name = text_at(block, "device");
    if (name.empty()) name = text_at(block, "qdev");
    if (!inserted.is_object()) {
      fact("disk " + escaped(name), "empty");
      return;
    }
    const std::string path = text_at(inserted, "file"), format = text_at(inserted, "drv");
    const bool read_only = flag_at(inserted, "ro");
    std::string text = fmt::format("{} ({}{}", escaped(path, 400), escaped(format),
                                   read_only ? ", read-only" : "");
    const bool local = path.starts_with('/');
    const std::string place = local ? path : seen_.directory + "/" + path;
    const auto locked = read_only ? std::nullopt : image_locked(place);
    if (locked) text += *locked ? ", locked" : ", NOT locked";
    fact("disk " + escaped(name), text + ")");
    if (locked && !*locked)
      remark(
          fmt::format("{} is not locked: nothing but vmferry's care keeps two processes from "
                      "writing to it",
                      escaped(path, 400)));
    if (!local && !read_only && seen_.went_away && !path.starts_with("json:"))
      cannot(
          fmt::format("disk '{}': QEMU opens {} anew when the guest moves, and will not find it: "
                      "with -daemonize it has left the directory in which it was named",
                      escaped(name), escaped(path, 400)));
    const std::string file = path.substr(path.rfind('/') + 1);
    if (!path.starts_with("json:") && !typed(file))
      cannot(
          fmt::format("disk '{}' has {} in it since the start: another process would open what "
                      "the command line names",
                      escaped(name), escaped(path, 400)));
  }

  Task<> look_at_graphics() {
    const auto asked = co_await settle(client_->execute("query-vnc-servers"));
    if (!asked || !asked->is_array()) co_return;  // built without VNC
    for (const Json& one : *asked) {
      const Json& servers = at(one, "server");
      if (!servers.is_array() || servers.empty()) continue;
      fact("vnc", fmt::format("{}:{}", escaped(text_at(servers[0], "host")),
                              escaped(text_at(servers[0], "service"))));
      if (text_at(one, "auth") == "vnc" && !typed("password-secret="))
        remark("the VNC password was set through a monitor, and must be set again");
    }
  }

  void describe_process() {
    fact("program", escaped(seen_.program));
    fact("directory", escaped(seen_.directory));
    if (!heir_.pid_file.empty()) fact("pid file", escaped(heir_.pid_file));
    for (const auto& [fd, d] : seen_.descriptors) {
      using Kind = Descriptor::Kind;
      if (d.kind == Kind::unix_listener) fact("listens", escaped(d.what, 200));
      if (d.kind == Kind::tcp_listener) fact("listens", "tcp " + escaped(d.what));
      if (d.kind == Kind::tap) fact("tap", escaped(d.what));
    }
    const bool shared = typed("share=on") || typed("memory-backend-memfd");
    fact("memory", shared ? "shared" : "private: another process needs a copy");
  }

  void save() {
    const Fd lock = host_.store().lock_domain(instance_.uuid);
    for (const Definition& d : host_.store().definitions())
      if (d.name == instance_.name && d.uuid != instance_.uuid)
        throw Error(ErrorId::exists,
                    fmt::format("another domain '{}' is defined here", escaped(d.name)))
            .advise("Give it another name with --name.");
    if (const auto there = host_.instance(instance_.uuid))
      throw Error(ErrorId::exists, fmt::format("domain '{}' with this UUID runs here already",
                                               escaped(there->name)));
    pin_machine(heir_.argv, report_.machine);
    set_identity(heir_.argv, instance_.name, to_string(instance_.uuid));
    instance_.argv = heir_.argv;
    instance_.process = seen_.process;
    instance_.transient = true;
    instance_.directory = seen_.directory;
    instance_.pid_file = heir_.pid_file;
    instance_.adopted = true;
    instance_.cannot = heir_.cannot;
    instance_.here_only = heir_.here_only;
    instance_.xml = value_or_throw(xml_of_command_line(heir_.argv, instance_.name));
    instance_.monitors = {absolute(options_.socket)};
    instance_.dir = host_.store().new_instance_dir(instance_.uuid);
    host_.store().save(instance_);
    report_.domain = ref(instance_);
  }

  static std::string absolute(const std::string& path) {
    char real[PATH_MAX];
    return ::realpath(path.c_str(), real) != nullptr ? std::string(real) : path;
  }

  QmpHost& host_;
  AdoptOptions options_;
  Observed seen_;
  Inherited heir_;
  std::unique_ptr<Client> client_;
  Instance instance_;
  AdoptReport report_;
};

}  // namespace
}  // namespace vmferry::qmp

namespace vmferry {

Task<AdoptReport> adopt(Host& host, AdoptOptions options) {
  qmp::Adoption one(qmp::as_qmp(host), std::move(options));
  Task<AdoptReport> running = one.run();
  AdoptReport report = co_await std::move(running);
  co_return report;
}

}  // namespace vmferry
