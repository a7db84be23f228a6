#include "core/drivers/qmp/descriptors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

std::vector<int> numbers(const ProcessId& id) {
  std::vector<int> out;
  for (const std::string& name : entries(fmt::format("/proc/{}/fd", id.pid)))
    if (const auto number = parse_number<int>(name)) out.push_back(*number);
  std::ranges::sort(out);
  return out;
}

Result<Fd> take(const ProcessId& id, int number) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!process || !alive(id)) return fail(ErrorId::io, "the process has ended");
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (fd) return fd;
  const int why = errno;
  Error error = io_error("cannot take a descriptor of", fmt::format("process {}", id.pid), why);
  if (why == EPERM) error.id = ErrorId::denied;
  return std::unexpected(std::move(error));
}

// tun(4): the driver tells the name of the device in fdinfo, as "iff:\tNAME".
std::vector<int> tap_queues(const ProcessId& id, const std::string& device) {
  std::vector<int> out;
  for (const int number : numbers(id)) {
    const auto info = read_file(fmt::format("/proc/{}/fdinfo/{}", id.pid, number));
    if (!info) continue;
    for (const std::string_view line : split(*info, '\n'))
      if (line.starts_with("iff:") && trimmed(line.substr(4)) == device) out.push_back(number);
  }
  return out;
}

// Inodes of the sockets that listen on a port, proc_net_tcp(5): "sl local rem st … inode".
std::set<std::string> listening(const ProcessId& id, std::uint16_t port) {
  std::set<std::string> inodes;
  const std::string wanted = fmt::format(":{:04X}", port);
  for (const char* table : {"tcp", "tcp6"}) {
    const auto text =
        read_file(fmt::format("/proc/{}/net/{}", id.pid, table), std::size_t{16} << 20);
    for (const std::string_view line : split(text.value_or(""), '\n')) {
      std::vector<std::string_view> words;
      for (const std::string_view word : split(line, ' '))
        if (!word.empty()) words.push_back(word);
      if (words.size() > 9 && words[1].ends_with(wanted) && words[3] == "0A")
        inodes.emplace(words[9]);
    }
  }
  return inodes;
}

std::optional<int> listener(const ProcessId& id, std::uint16_t port) {
  const std::set<std::string> inodes = listening(id, port);
  for (const int number : numbers(id)) {
    char target[64];
    const std::string path = fmt::format("/proc/{}/fd/{}", id.pid, number);
    const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
    std::string_view link(target, n > 0 ? static_cast<std::size_t>(n) : 0);
    if (!link.starts_with("socket:[") || !link.ends_with(']')) continue;
    link.remove_prefix(8);
    link.remove_suffix(1);
    if (inodes.contains(std::string(link))) return number;
  }
  return std::nullopt;
}

std::uint16_t peer_port(const Fd& socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return 0;
  if (peer.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(peer).sin_port);
  if (peer.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(peer).sin6_port);
  return 0;
}

}  // namespace

std::vector<Fd> connections_of(const ProcessId& id, std::uint16_t port) {
  std::vector<Fd> out;
  for (const int number : numbers(id)) {
    std::error_code failure;
    const auto link =
        std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", id.pid, number), failure);
    if (failure || !link.string().starts_with("socket:")) continue;
    Result<Fd> fd = take(id, number);
    if (fd && peer_port(*fd) == port) out.push_back(*std::move(fd));
  }
  return out;
}

Belongings belongings_of(const ProcessId& id) {
  Belongings out;
  out.take = [id](int number) { return take(id, number); };
  out.tap_queues = [id](const std::string& device) { return tap_queues(id, device); };
  out.listener = [id](std::uint16_t port) { return listener(id, port); };
  return out;
}

}  // namespace vmferry::qmp
