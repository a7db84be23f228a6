#include "core/drivers/qmp/inherit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"
#include "core/drivers/qmp/option_value.hpp"

namespace vmferry::qmp {

namespace {

using Kind = Descriptor::Kind;

constexpr std::array<std::string_view, 5> kCharacters{"chardev", "serial", "monitor", "qmp",
                                                      "parallel"};

class Heir {
 public:
  explicit Heir(const Observed& observed) : seen_(observed) {}

  Inherited run() {
    out_.argv.push_back(seen_.program);
    for (std::size_t i = 1; i < seen_.argv.size();) {
      const std::string_view option = option_name(seen_.argv[i]);
      const bool alone = option.empty() || is_flag(option) || i + 1 == seen_.argv.size();
      std::string value = alone ? "" : seen_.argv[i + 1];
      if (keep(option, value)) {
        out_.argv.push_back(seen_.argv[i]);
        if (!alone) out_.argv.push_back(std::move(value));
      }
      i += alone ? 1 : 2;
    }
    for (const auto& [from, to] : replaced_)
      for (std::string& word : out_.argv) replace_all(word, from, to);
    surroundings();
    return std::move(out_);
  }

 private:
  void cannot(std::string_view option, const std::string& value, std::string_view why) {
    out_.cannot.push_back(
        fmt::format("-{}{}{}: {}", option, value.empty() ? "" : " ", escaped(value, 200), why));
  }
  // A descriptor without a name can be duplicated by a process on this host, and only there.
  void here_only(std::string_view option, const std::string& value, std::string_view why) {
    out_.here_only.push_back(fmt::format("-{} {}: {}", option, escaped(value, 200), why));
  }
  void remark(std::string text) { out_.remarks.push_back(std::move(text)); }

  static void replace_all(std::string& in, const std::string& from, const std::string& to) {
    for (std::size_t at = 0; (at = in.find(from, at)) != std::string::npos; at += to.size())
      in.replace(at, from.size(), to);
  }

  std::string absolute(const std::string& path) const {
    return path.starts_with('/') ? path : seen_.directory + "/" + path;
  }

  const Descriptor* descriptor(const std::string& number) const {
    const auto fd = parse_number<int>(number);
    const auto found = fd ? seen_.descriptors.find(*fd) : seen_.descriptors.end();
    return found == seen_.descriptors.end() ? nullptr : &found->second;
  }

  // Whether the option stays; its value may change.
  bool keep(std::string_view option, std::string& value) {
    static constexpr std::array<std::string_view, 5> done{"S", "daemonize", "incoming", "preconfig",
                                                          "loadvm"};
    if (std::ranges::find(done, option) != done.end()) return false;
    if (option == "pidfile") {
      out_.pid_file = absolute(value);
      return false;
    }
    if (option == "add-fd") return added(value);
    if (std::ranges::find(kCharacters, option) != kCharacters.end()) character(option, value);
    if (option == "netdev" || option == "net" || option == "nic") network(option, value);
    if (option == "vnc" && value.starts_with("unix:")) with_directory(value, "unix:");
    user_and_disk(option, value);
    return true;
  }

  void user_and_disk(std::string_view option, const std::string& value) {
    if (option == "runas" || option == "chroot")
      cannot(option, value, "another process would open its files as another user, or elsewhere");
    if (option == "run-with" && (sub_option(value, "chroot") || sub_option(value, "user")))
      cannot(option, value, "another process would open its files as another user, or elsewhere");
    if (option == "snapshot" || (option == "drive" && sub_option(value, "snapshot") == "on"))
      cannot(option, value,
             "what the guest wrote is in a nameless temporary file that only this process has");
    if (option == "tpmdev" && value.starts_with("emulator"))
      cannot(option, value, "the TPM's state is kept by another program");
    if (option == "readconfig")
      remark(
          fmt::format("-readconfig {}: what the file says is not looked at, and it may have "
                      "changed since",
                      escaped(value, 200)));
    if (option == "nographic")
      remark(
          "-nographic: console and monitor leave the terminal that it was started from; what "
          "they print goes to the log");
  }

  // -add-fd fd=N,set=S: /dev/fdset/S is a file that has a name, if we are lucky.
  bool added(const std::string& value) {
    const Descriptor* d = descriptor(sub_option(value, "fd").value_or(""));
    const std::string set = sub_option(value, "set").value_or("");
    if (d == nullptr || d->kind != Kind::file || set.empty()) {
      here_only("add-fd", value, "what it was given has no name that could be opened there");
      return true;
    }
    remark(fmt::format("-add-fd {}: opened by its name, {}", escaped(value, 100),
                       escaped(d->what, 200)));
    replaced_.emplace_back("/dev/fdset/" + set, d->what);
    return false;
  }

  // Names that are taken over must mean the same whoever looks at them.
  void with_directory(std::string& value, std::string_view before) const {
    const std::size_t at = value.find(before);
    const std::size_t path = at + before.size();
    if (at != std::string::npos && path < value.size() && value[path] != '/')
      value.insert(path, seen_.directory + "/");
  }

  void character(std::string_view option, std::string& value) {
    if (value.starts_with("unix:")) with_directory(value, "unix:");
    if (value.starts_with("socket,")) with_directory(value, ",path=");
    const bool socket = value.starts_with("socket,");
    if (const auto fd = socket ? sub_option(value, "fd") : std::nullopt) passed(option, value, *fd);
    if (value.starts_with("stdio") || value == "mon:stdio")
      remark(
          fmt::format("-{} {}: it leaves the terminal that it was started from; what it prints "
                      "goes to the log",
                      option, escaped(value, 100)));
    if (value.starts_with("pty"))
      remark(fmt::format("-{} {}: it gets another pseudo-terminal", option, escaped(value, 100)));
    const bool listens =
        value.find("server") != std::string::npos && value.find("server=off") == std::string::npos;
    if (listens) never_wait(value);
    if (socket && !listens && sub_option(value, "path"))
      remark(fmt::format("-{} {}: something must listen there for the other process, too", option,
                         escaped(value, 200)));
  }

  // A listening socket has a name that another process can listen on.
  void passed(std::string_view option, std::string& value, const std::string& number) {
    const Descriptor* d = descriptor(number);
    std::string instead;
    if (d != nullptr && d->kind == Kind::unix_listener && d->what.starts_with('/'))
      instead = "path=" + d->what;
    if (d != nullptr && d->kind == Kind::tcp_listener) {
      const std::size_t colon = d->what.rfind(':');
      instead = fmt::format("host={},port={}", d->what.substr(0, colon), d->what.substr(colon + 1));
    }
    if (instead.empty())
      return here_only(option, value, "the descriptor is a connection that ends here");
    remark(fmt::format("-{} {}: listens on {} itself", option, escaped(value, 100),
                       escaped(d->what, 200)));
    replace_all(value, "fd=" + number, instead);
  }

  // A second process would not answer before a client came.
  static void never_wait(std::string& value) {
    for (const char* wait : {",wait=on", ",wait=off", ",nowait", ",wait"})
      if (const std::size_t at = value.find(wait); at != std::string::npos)
        value.erase(at, std::string_view(wait).size());
    value += ",wait=off";
  }

  void network(std::string_view option, std::string& value) {
    if (sub_option(value, "fds") || sub_option(value, "vhostfds"))
      return here_only(option, value, "its queues were passed as descriptors");
    if (const auto vhost = sub_option(value, "vhostfd"))
      replace_all(value, "vhostfd=" + *vhost, "vhost=on");
    const auto fd = sub_option(value, "fd");
    if (!fd) return;
    const Descriptor* d = descriptor(*fd);
    if (!value.starts_with("tap") || d == nullptr || d->kind != Kind::tap || d->what.empty())
      return here_only(option, value, "the descriptor is a connection that ends here");
    remark(fmt::format("-{} {}: the interface {} is opened by its name", option,
                       escaped(value, 100), escaped(d->what)));
    replace_all(value, "fd=" + *fd, fmt::format("ifname={},script=no,downscript=no", d->what));
  }

  void surroundings() {
    if (seen_.program_replaced)
      remark(fmt::format("{} was replaced since: another process runs the new one",
                         escaped(seen_.program)));
    if (!seen_.unit.empty())
      remark(
          fmt::format("it is part of the service {}: see to it that systemd does not start it "
                      "again when it ends here",
                      escaped(seen_.unit)));
  }

  const Observed& seen_;
  Inherited out_;
  std::vector<std::pair<std::string, std::string>> replaced_;
};

}  // namespace

Inherited inherit(const Observed& observed) { return Heir(observed).run(); }

}  // namespace vmferry::qmp
