#include "core/drivers/qmp/conflicts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"
#include "core/drivers/qmp/option_value.hpp"

namespace vmferry::qmp {

namespace {

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

class Pass {
 public:
  Pass(const Words& argv, std::string suffix, std::string vnc_socket, const Belongings& first)
      : suffix_(std::move(suffix)), vnc_socket_(std::move(vnc_socket)), first_(first) {
    out_.argv = out_.kept = argv;
  }

  SideBySide run() {
    drop();
    for (std::size_t i = 1; i + 1 < out_.argv.size(); ++i) {
      const std::string_view option = option_name(out_.argv[i]);
      if (!option.empty()) one(option, i + 1);
    }
    out_.argv.insert(out_.argv.end(), more_.begin(), more_.end());
    return std::move(out_);
  }

 private:
  // Words that only the first process needed, or that come back later.
  void drop() {
    Words argv, kept;
    for (std::size_t i = 0; i < out_.argv.size(); ++i) {
      const std::string_view option = i == 0 ? std::string_view() : option_name(out_.argv[i]);
      const bool value_follows = one_of(option, {"pidfile", "gdb", "incoming"});
      const bool only_once = one_of(option, {"daemonize", "S", "incoming"});
      const bool later = one_of(option, {"pidfile", "gdb", "s"});
      const std::string value = value_follows && i + 1 < out_.argv.size() ? out_.argv[i + 1] : "";
      if (option == "pidfile") out_.pid_file = value;
      if (option == "gdb") hmp("gdbserver " + value);
      if (option == "s") hmp("gdbserver tcp::1234");
      for (std::size_t n = 0; n < (value_follows ? 2U : 1U) && i + n < out_.argv.size(); ++n) {
        if (!only_once && !later) argv.push_back(out_.argv[i + n]);
        if (!only_once) kept.push_back(out_.argv[i + n]);
      }
      if (value_follows) ++i;
    }
    out_.argv = std::move(argv);
    out_.kept = std::move(kept);
  }

  void one(std::string_view option, std::size_t at) {
    std::string& value = out_.argv[at];
    if (one_of(option, {"chardev", "serial", "monitor", "qmp", "parallel"}))
      return character(option, value);
    if (option == "vnc") return vnc(value);
    if (option == "display" && value.starts_with("vnc=")) {
      std::string server = value.substr(4);
      vnc(server);
      value = "vnc=" + server;
      return;
    }
    if (one_of(option, {"netdev", "nic", "net"})) return network(option, value);
    if (option == "spice") return spice(value);
    if (option == "add-fd") return passed(option, value, "fd");
    if (option == "tpmdev" && value.starts_with("emulator"))
      return impossible(option, value, "its emulator serves one process");
    if (option == "device" && value.starts_with("vhost-user"))
      impossible(option, value, "its backend serves one process");
  }

  void impossible(std::string_view option, const std::string& value, std::string_view why) {
    out_.impossible.push_back(fmt::format("-{} {}: {}", option, escaped(value, 200), why));
  }
  void loss(std::string_view option, const std::string& value, std::string_view what) {
    out_.losses.push_back(fmt::format("-{} {}: {}", option, escaped(value, 200), what));
  }
  void hmp(std::string line) {
    out_.afterwards.push_back({"human-monitor-command", {{"command-line", std::move(line)}}});
  }

  // The number in the second process of a descriptor of the first.
  std::optional<std::string> taken(std::string_view option, const std::string& value, int number) {
    Result<Fd> fd = first_.take(number);
    if (!fd) {
      impossible(option, value, fd.error().message);
      return std::nullopt;
    }
    out_.inherited.push_back(*std::move(fd));
    return fmt::format("{}", out_.inherited.back().get());
  }

  // "fd=7", "fds=7:8": numbers of the first process. Remembered by their new ones.
  void passed(std::string_view option, std::string& value, std::string_view key) {
    OptionValue now(value);
    std::string renumbered;
    for (const std::string_view word : split(now.get(key).value_or(""), ':')) {
      const auto number = parse_number<int>(word);
      if (!number)
        return impossible(option, value, "the descriptor was given to its monitor by name");
      const auto mine = taken(option, value, *number);
      if (!mine) return;
      renumbered += (renumbered.empty() ? "" : ":") + *mine;
    }
    now.set(key, renumbered);
    const auto same = std::ranges::find(out_.kept, value);
    value = now.text();
    if (same != out_.kept.end()) *same = value;
  }

  // The short forms, "unix:/path,server", are said at length: only -chardev takes descriptors.
  void character(std::string_view option, std::string& value) {
    if (option == "chardev") return chardev(option, value);
    OptionValue form(value);
    const std::string kind = form.kind();
    const std::size_t colon = kind.find(':');
    const std::string type = kind.substr(0, colon);
    const std::string where = colon == std::string::npos ? "" : kind.substr(colon + 1);
    std::string device;
    if (type == "unix" && form.on("server")) {
      device = "socket,path=" + where + ",server=on";
    } else if (one_of(type, {"tcp", "telnet"}) && form.on("server")) {
      const std::size_t port = where.rfind(':');
      if (port == std::string::npos) return;
      device = fmt::format("socket,host={},port={},server=on{}", where.substr(0, port),
                           where.substr(port + 1), type == "telnet" ? ",telnet=on" : "");
    } else if (type == "file") {
      device = "file,path=" + where;
    } else if (type == "udp") {
      return impossible(option, value, "a UDP port belongs to one process");
    } else {
      if (type == "pty") loss(option, value, "the new process has another terminal");
      return;
    }
    const std::string id = fmt::format("vmferry-{}{}", option, at_++);
    device.insert(device.find(','), ",id=" + id);
    chardev(option, device);
    value = "chardev:" + id;
    more_.insert(more_.end(), {"-chardev", device});
  }

  void chardev(std::string_view option, std::string& value) {
    OptionValue form(value);
    const std::string kind = form.kind();
    if (kind == "file" && !form.on("append")) {
      form.set("append", "on");
      value = form.text();
    }
    if (kind == "pty") loss(option, value, "the new process has another terminal");
    if (kind == "udp") impossible(option, value, "a UDP port belongs to one process");
    if (kind != "socket") return;
    if (form.get("fd")) {
      passed(option, value, "fd");
      form = OptionValue(value);
    }
    if (!form.on("server")) {
      value = form.text();
      return;
    }
    // Never waits for a client: it would not answer before one came.
    form.remove("wait");
    form.set("wait", "off");
    if (const auto path = form.get("path")) {
      form.set("path", *path + suffix_);
      out_.renames.emplace_back(*path + suffix_, *path);
    } else if (const auto port = form.get("port")) {
      if (!listening(option, value, form, *port)) return;
    }
    value = form.text();
  }

  // The second process listens through the first one's socket, so that the port is never free.
  bool listening(std::string_view option, const std::string& value, OptionValue& form,
                 const std::string& port) {
    const auto number = parse_number<std::uint16_t>(port);
    const auto descriptor = number ? first_.listener(*number) : std::nullopt;
    if (!descriptor) {
      impossible(option, value, "the socket of this port is not found in the running process");
      return false;
    }
    const auto mine = taken(option, value, *descriptor);
    if (!mine) return false;
    for (const char* key : {"host", "port", "to", "ipv4", "ipv6"}) form.remove(key);
    form.set("fd", *mine);
    return true;
  }

  void spice(std::string& value) {
    OptionValue form(value);
    const auto path = form.get("addr");
    if (!form.on("unix") || !path)
      return impossible("spice", value,
                        "QEMU cannot move a spice server to this port later; one at a "
                        "unix socket (unix=on,addr=PATH) it can");
    form.set("addr", *path + suffix_);
    out_.renames.emplace_back(*path + suffix_, *path);
    loss("spice", value, "clients have to connect again");
    value = form.text();
  }

  void vnc(std::string& value) {
    if (value == "none") return;
    const std::size_t comma = std::min(value.find(','), value.size());
    const std::string where = value.substr(0, comma), rest = value.substr(comma);
    if (where.starts_with("unix:")) {
      const std::string path = where.substr(5);
      out_.renames.emplace_back(path + suffix_, path);
      value = where + suffix_ + rest;
      return;
    }
    const std::size_t colon = where.rfind(':');
    const auto display =
        colon == std::string::npos ? std::nullopt : parse_number<int>(where.substr(colon + 1));
    if (!display || rest.find("to=") != std::string::npos ||
        rest.find("websocket") != std::string::npos)
      return impossible("vnc", value, "its port cannot be told from the command line");
    out_.vnc_host = colon == 0 ? "0.0.0.0" : where.substr(0, colon);
    out_.vnc_port = fmt::format("{}", 5900 + *display);
    value = "unix:" + vnc_socket_ + rest;
  }

  void network(std::string_view option, std::string& value) {
    OptionValue form(value);
    const std::string kind = form.kind();
    if (kind == "user") return forwarded(option, value, form);
    if (kind == "tap" && form.get("ifname")) return tap(option, value, form);
    if (form.get("vhostfd") || form.get("vhostfds")) {
      for (const char* key : {"vhostfd", "vhostfds"}) form.remove(key);  // it opens its own
      value = form.text();
    }
    if (form.get("fd")) return passed(option, value, "fd");
    if (form.get("fds")) return passed(option, value, "fds");
    if (kind == "tap" && !form.get("helper") && !form.get("br"))
      impossible(option, value, "it does not name its interface");
    if (kind == "vhost-user") impossible(option, value, "its backend serves one process");
    if (form.get("listen") || form.on("server"))
      impossible(option, value, "the port or socket that it listens on belongs to one process");
    if (form.get("connect")) loss(option, value, "it connects anew");
  }

  // Rules come back when the first process has given up its ports.
  void forwarded(std::string_view option, std::string& value, OptionValue& form) {
    const std::vector<std::string> rules = form.all("hostfwd");
    if (rules.empty()) return;
    const std::string id = form.get("id").value_or("");
    for (const std::string& rule : rules)
      hmp(fmt::format("hostfwd_add {}{}{}", id, id.empty() ? "" : " ", rule));
    loss(option, value, "connections that came through a forwarded port end");
    form.remove("hostfwd");
    value = form.text();
  }

  void tap(std::string_view option, std::string& value, OptionValue& form) {
    const std::vector<int> queues = first_.tap_queues(*form.get("ifname"));
    if (queues.empty())
      return impossible(option, value, "the running process does not have this interface open");
    std::string list;
    for (const int queue : queues) {
      const auto mine = taken(option, value, queue);
      if (!mine) return;
      list += (list.empty() ? "" : ":") + *mine;
    }
    for (const char* key : {"ifname", "script", "downscript", "queues", "vhostfd", "vhostfds"})
      form.remove(key);
    form.set(queues.size() == 1 ? "fd" : "fds", list);
    value = form.text();
  }

  std::string suffix_, vnc_socket_;
  const Belongings& first_;
  SideBySide out_;
  Words more_;
  int at_ = 0;
};

}  // namespace

static Afterwards vnc_move(Json address) {
  return {"display-update", {{"type", "vnc"}, {"addresses", Json::array({std::move(address)})}}};
}
Afterwards vnc_at(const std::string& host, const std::string& port) {
  return vnc_move({{"type", "inet"}, {"host", host}, {"port", port}});
}
Afterwards vnc_at_socket(const std::string& path) {
  return vnc_move({{"type", "unix"}, {"path", path}});
}

SideBySide side_by_side(const Words& argv, const std::string& suffix, const std::string& vnc_socket,
                        const Belongings& first) {
  return Pass(argv, suffix, vnc_socket, first).run();
}

}  // namespace vmferry::qmp
