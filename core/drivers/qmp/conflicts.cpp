#include "core/drivers/qmp/conflicts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

std::string_view option_name(std::string_view word) {
  if (word.size() < 2 || word[0] != '-') return {};
  return word.substr(word[1] == '-' ? 2 : 1);
}

bool on(const std::optional<std::string>& value) {
  return value && *value != "off" && *value != "no";
}

// "server", "server=on" and their like.
bool serves(const std::string& value) {
  if (on(sub_option(value, "server"))) return true;
  for (const std::string_view piece : split(value, ','))
    if (piece == "server") return true;
  return false;
}

class Pass {
 public:
  Pass(const Words& argv, std::string suffix, std::string vnc_socket)
      : suffix_(std::move(suffix)), vnc_socket_(std::move(vnc_socket)) {
    out_.argv = argv;
  }

  SideBySide run() {
    for (std::size_t i = 1; i + 1 < out_.argv.size(); ++i)
      one(option_name(out_.argv[i]), out_.argv[i + 1]);
    return std::move(out_);
  }

 private:
  void one(std::string_view option, std::string& value) {
    static constexpr std::array<std::string_view, 5> characters{"chardev", "serial", "monitor",
                                                                "qmp", "parallel"};
    if (std::ranges::find(characters, option) != characters.end()) return character(option, value);
    if (option == "vnc") return vnc(value);
    if (option == "netdev" || option == "nic" || option == "net") return network(option, value);
    if (option == "spice") impossible(option, value, "a spice server is not handed over");
    if (option == "add-fd") impossible(option, value, "the descriptor is not known to us");
  }

  void impossible(std::string_view option, const std::string& value, std::string_view why) {
    out_.impossible.push_back(fmt::format("-{} {}: {}", option, escaped(value, 200), why));
  }

  void character(std::string_view option, std::string& value) {
    const bool file = value.starts_with("file,");
    if (value.starts_with("file:"))
      return impossible(option, value,
                        "the second process would empty the file (use -chardev "
                        "file,…,append=on)");
    if (file && !on(sub_option(value, "append"))) value += ",append=on";
    const bool legacy = value.starts_with("unix:") && serves(value);
    const bool socket = value.starts_with("socket,") && serves(value);
    if (legacy) rename(value, value.substr(5, value.find(',') - 5));
    if (socket && sub_option(value, "fd"))
      return impossible(option, value, "the descriptor is not known to us");
    if (socket && sub_option(value, "path")) rename(value, *sub_option(value, "path"));
    const bool port =
        (socket && sub_option(value, "port")) ||
        ((value.starts_with("tcp:") || value.starts_with("telnet:")) && serves(value));
    if (port) impossible(option, value, "a TCP port belongs to one process");
    if (value.starts_with("udp")) impossible(option, value, "a UDP port belongs to one process");
  }

  // Never waits for a client: it would not answer before one came.
  void rename(std::string& value, const std::string& path) {
    const std::size_t at = value.find(path);
    if (path.empty() || at == std::string::npos) return;
    value.replace(at, path.size(), path + suffix_);
    for (const char* wait : {",wait=on", ",wait=off", ",nowait", ",wait"})
      if (const std::size_t w = value.find(wait); w != std::string::npos)
        value.erase(w, std::string_view(wait).size());
    value += ",wait=off";
    out_.renames.emplace_back(path + suffix_, path);
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
    out_.vnc_host = where.substr(0, colon);
    if (out_.vnc_host.empty()) out_.vnc_host = "0.0.0.0";
    out_.vnc_port = fmt::format("{}", 5900 + *display);
    value = "unix:" + vnc_socket_ + rest;
  }

  void network(std::string_view option, const std::string& value) {
    if (value.find("hostfwd=") != std::string::npos)
      impossible(option, value, "a forwarded port belongs to one process");
    if (sub_option(value, "fd") || sub_option(value, "fds") || sub_option(value, "vhostfd"))
      impossible(option, value, "the descriptor is not known to us");
    const bool tap = value.starts_with("tap") && sub_option(value, "ifname");
    if (tap) impossible(option, value, "a TAP device of this name belongs to one process");
    if (value.find("listen=") != std::string::npos)
      impossible(option, value, "a TCP port belongs to one process");
  }

  std::string suffix_, vnc_socket_;
  SideBySide out_;
};

}  // namespace

SideBySide side_by_side(const Words& argv, const std::string& suffix,
                        const std::string& vnc_socket) {
  return Pass(argv, suffix, vnc_socket).run();
}

}  // namespace vmferry::qmp
