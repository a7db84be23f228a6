#include "core/drivers/qmp/observe.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::string_view kGone = " (deleted)";

std::string link_of(const std::string& path) {
  char target[4096];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<std::size_t>(n)) : std::string();
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  for (const std::string_view word : split(trimmed(line), ' '))
    if (!word.empty()) out.push_back(word);
  return out;
}

using Sockets = std::map<std::string, Descriptor>;  // by inode

// Num RefCount Protocol Flags Type St Inode Path; flag 0x10000: listens.
void unix_listeners(const std::string& text, Sockets& out) {
  for (const std::string_view line : split(text, '\n')) {
    const auto w = words_of(line);
    if (w.size() < 8 || w[3] != "00010000") continue;
    const std::size_t at = line.find(w[7], static_cast<std::size_t>(w[6].data() - line.data()));
    out[std::string(w[6])] = {Descriptor::Kind::unix_listener, std::string(line.substr(at))};
  }
}

// "0100007F:1F90": groups of four bytes, each in the order of the host.
std::string address_of(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {};
  std::array<std::uint32_t, 4> words{};
  const std::size_t count = colon / 8;
  if (count != 1 && count != 4) return {};
  for (std::size_t i = 0; i < count; ++i)
    words[i] = parse_number<std::uint32_t>(text.substr(i * 8, 8), 16).value_or(0);
  char name[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(count == 1 ? AF_INET : AF_INET6, words.data(), name, sizeof name);
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1), 16).value_or(0);
  return count == 1 ? fmt::format("{}:{}", name, port) : fmt::format("[{}]:{}", name, port);
}

// sl local remote st tx:rx tr:tm retrnsmt uid timeout inode; state 0A: listens.
void tcp_listeners(const std::string& text, Sockets& out) {
  for (const std::string_view line : split(text, '\n')) {
    const auto w = words_of(line);
    if (w.size() < 10 || w[3] != "0A") continue;
    out[std::string(w[9])] = {Descriptor::Kind::tcp_listener, address_of(w[1])};
  }
}

Sockets sockets_of(std::int32_t pid) {
  Sockets out;
  constexpr std::size_t most = std::size_t{16} << 20;
  const auto text = [&](const char* name) {
    return read_file(fmt::format("/proc/{}/net/{}", pid, name), most).value_or("");
  };
  unix_listeners(text("unix"), out);
  tcp_listeners(text("tcp"), out);
  tcp_listeners(text("tcp6"), out);
  return out;
}

std::string inode_of(std::string_view link) {
  return link.starts_with("socket:[") ? std::string(link.substr(8, link.size() - 9))
                                      : std::string();
}

// The interface that a TAP's descriptor belongs to.
std::string tap_name(std::int32_t pid, int fd) {
  const auto text = read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd));
  for (const std::string_view line : split(text ? std::string_view(*text) : "", '\n'))
    if (line.starts_with("iff:")) return std::string(trimmed(line.substr(4)));
  return {};
}

Descriptor describe(std::int32_t pid, int fd, const std::string& link, const Sockets& sockets) {
  using Kind = Descriptor::Kind;
  const std::string inode = inode_of(link);
  if (!inode.empty()) {
    const auto known = sockets.find(inode);
    return known == sockets.end() ? Descriptor{Kind::socket, link} : known->second;
  }
  if (link == "/dev/net/tun") return {Kind::tap, tap_name(pid, fd)};
  if (link.starts_with("/dev/pts/") || link == "/dev/tty") return {Kind::terminal, link};
  if (link.starts_with("/memfd:")) return {Kind::memory, link};
  if (link.starts_with('/') && !link.ends_with(kGone)) return {Kind::file, link};
  return {Kind::other, link};
}

// "0::/system.slice/web1.service": whoever started it may start it again when it ends.
std::string unit_of(std::int32_t pid) {
  const std::string text = read_file(fmt::format("/proc/{}/cgroup", pid)).value_or("");
  for (const std::string_view line : split(text, '\n'))
    for (const std::string_view part : split(line, '/'))
      if (part.ends_with(".service") && !part.starts_with("user@")) return std::string(part);
  return {};
}

bool holds(std::int32_t pid, const std::string& inode) {
  const std::string dir = fmt::format("/proc/{}/fd", pid), wanted = "socket:[" + inode + "]";
  return std::ranges::any_of(
      entries(dir), [&](const std::string& entry) { return link_of(dir + "/" + entry) == wanted; });
}

Words command_line_of(std::int32_t pid) {
  Words argv;
  const std::string line = read_file(fmt::format("/proc/{}/cmdline", pid)).value_or("");
  for (const std::string_view word : split(line, '\0')) argv.emplace_back(word);
  if (!argv.empty() && argv.back().empty()) argv.pop_back();  // after the last NUL
  return argv;
}

// Where its relative paths begin. With -daemonize QEMU goes to "/" once it has opened its files; a
// shell that started it has left its own directory in the environment.
std::string directory_of(std::int32_t pid) {
  const std::string now = link_of(fmt::format("/proc/{}/cwd", pid));
  if (now != "/" || !has_option(command_line_of(pid), "daemonize")) return now;
  const std::string text = read_file(fmt::format("/proc/{}/environ", pid)).value_or("");
  for (const std::string_view variable : split(text, '\0'))
    if (variable.starts_with("PWD=/")) return std::string(variable.substr(4));
  return now;
}

// Inodes of the listening sockets that are bound to this file; the kernel knows, whatever name they
// were bound by (sock_diag(7)).
std::vector<std::string> bound_to(const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) throw io_error("cannot find the socket", path, errno);
  const Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  struct {
    nlmsghdr head{};
    unix_diag_req body{};
  } ask;
  ask.head.nlmsg_len = sizeof ask;
  ask.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.body.sdiag_family = AF_UNIX;
  ask.body.udiag_states = 1U << 10;  // TCP_LISTEN
  ask.body.udiag_show = UDIAG_SHOW_VFS;
  if (!netlink || ::send(netlink.get(), &ask, sizeof ask, 0) != sizeof ask)
    throw io_error("cannot ask for", "the sockets of this machine", errno);
  std::vector<std::string> out;
  alignas(nlmsghdr) std::array<char, 65536> answer;
  for (;;) {
    const ssize_t got = ::recv(netlink.get(), answer.data(), answer.size(), 0);
    if (got <= 0) throw io_error("cannot ask for", "the sockets of this machine", errno);
    auto left = static_cast<unsigned>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(m, left);
         m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) return out;
      const auto* one = static_cast<const unix_diag_msg*>(NLMSG_DATA(m));
      auto size = static_cast<unsigned>(m->nlmsg_len - NLMSG_LENGTH(sizeof *one));
      for (auto* a = reinterpret_cast<const rtattr*>(one + 1); RTA_OK(a, size);
           a = RTA_NEXT(a, size)) {
        const auto* vfs = static_cast<const unix_diag_vfs*>(RTA_DATA(a));
        if (a->rta_type == UNIX_DIAG_VFS && vfs->udiag_vfs_ino == file.st_ino &&
            vfs->udiag_vfs_dev >> 20 == gnu_dev_major(file.st_dev) &&
            (vfs->udiag_vfs_dev & 0xfffff) == gnu_dev_minor(file.st_dev))
          out.push_back(fmt::format("{}", one->udiag_ino));
      }
    }
  }
}

// The directory in which a relative name means that place; empty: in none.
std::string directory_for(const std::string& name, const std::string& place) {
  const std::string tail = "/" + name;
  if (name.starts_with('/') || !place.ends_with(tail)) return {};
  const std::string above = place.substr(0, place.size() - tail.size());
  return above.empty() ? "/" : above;
}

}  // namespace

Observed observe(std::int32_t pid) {
  Observed out;
  out.process = process_now(pid);
  if (out.process.start == 0)
    throw Error(ErrorId::not_found, fmt::format("there is no process {}", pid));
  const std::string dir = fmt::format("/proc/{}/", pid);
  struct stat info{};
  if (::stat(dir.c_str(), &info) == 0) out.uid = info.st_uid;
  out.program = link_of(dir + "exe");
  out.directory = directory_of(pid);
  if (out.program.empty() || out.directory.empty())
    throw Error(ErrorId::denied, fmt::format("process {} may not be looked into", pid))
        .advise("Run vmferry as the user who started it, or as root.");
  if (out.program.ends_with(kGone)) {
    out.program_replaced = true;
    out.program.resize(out.program.size() - kGone.size());
  }
  out.argv = command_line_of(pid);
  out.unit = unit_of(pid);
  const Sockets sockets = sockets_of(pid);
  for (const std::string& entry : entries(dir + "fd")) {
    const auto fd = parse_number<int>(entry);
    if (fd) out.descriptors[*fd] = describe(pid, *fd, link_of(dir + "fd/" + entry), sockets);
  }
  return out;
}

Listening listener_of(const std::string& path, std::int32_t pid) {
  std::error_code failure;
  const std::string place = std::filesystem::canonical(path, failure).string();
  if (failure) throw io_error("cannot find the monitor's socket", path, failure.value());
  const std::vector<std::string> inodes = bound_to(place);
  std::vector<std::int32_t> found;
  for (const std::string& entry : entries("/proc")) {
    const auto one = parse_number<std::int32_t>(entry);
    if (!one || (pid > 0 && *one != pid)) continue;
    if (std::ranges::any_of(inodes, [&](const auto& inode) { return holds(*one, inode); }))
      found.push_back(*one);
  }
  if (found.empty())
    throw Error(
        ErrorId::not_found,
        pid > 0 ? fmt::format("process {} does not listen on {}", pid, escaped(path))
                : fmt::format("no process that may be looked into listens on {}", escaped(path)))
        .advise("Name the process with --pid; run vmferry as the user who started it, or as root.");
  if (found.size() > 1)
    throw Error(ErrorId::usage, fmt::format("several processes have the socket {}: {}",
                                            escaped(path), fmt::join(found, ", ")))
        .advise("Name QEMU's with --pid.");
  Listening out{found[0], {}};
  const Sockets sockets = sockets_of(out.pid);
  for (const std::string& inode : inodes)
    if (const auto s = sockets.find(inode); s != sockets.end())
      out.directory = directory_for(s->second.what, place);
  return out;
}

std::optional<bool> image_locked(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 100;
  lock.l_len = 200;
  if (::fcntl(file.get(), F_OFD_GETLK, &lock) != 0) return std::nullopt;
  return lock.l_type != F_UNLCK;
}

}  // namespace vmferry::qmp
