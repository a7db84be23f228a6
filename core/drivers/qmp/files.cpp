#include "core/drivers/qmp/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "core/base/text.hpp"

namespace vmferry::qmp {

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Error io_error(const std::string& what, const std::string& path, int number) {
  return Error(ErrorId::io, fmt::format("{} {}: {}", what, escaped(path),
                                        std::generic_category().message(number)));
}

void make_private_dir(const std::string& path) {
  if (path.size() > 1) {
    const std::size_t slash = path.rfind('/');
    if (slash != std::string::npos && slash > 0) {
      std::error_code ignored;
      const std::string above = path.substr(0, slash);
      if (!std::filesystem::exists(above, ignored)) make_private_dir(above);
    }
  }
  if (::mkdir(path.c_str(), 0700) == 0) return;
  if (errno != EEXIST) throw io_error("cannot make the directory", path, errno);
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) throw io_error("cannot look at", path, errno);
  if (!S_ISDIR(info.st_mode)) throw io_error("not a directory:", path, ENOTDIR);
  if (info.st_uid != ::geteuid() || (info.st_mode & 0022) != 0)
    throw Error(ErrorId::denied,
                fmt::format("{} belongs to someone else, or others may write to it", escaped(path)))
        .advise("Give it to this user, with mode 0700, or name another directory.");
}

static void write_whole(int fd, std::string_view text, const std::string& path, Outlives what) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw io_error("cannot write", path, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (what == Outlives::machine && ::fsync(fd) != 0) throw io_error("cannot flush", path, errno);
}

void write_atomically(const std::string& path, std::string_view text, Outlives what) {
  const std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) throw io_error("cannot make", beside, errno);
    write_whole(file.get(), text, beside, what);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) throw io_error("cannot replace", path, errno);
  if (what == Outlives::program) return;
  const std::string above = path.substr(0, path.rfind('/'));
  const Fd dir(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) throw io_error("cannot flush", above, errno);
}

std::optional<std::string> read_file(const std::string& path, std::size_t most) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) throw io_error("cannot read", path, errno);
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ESRCH) return std::nullopt;  // a process that has just ended
    if (n < 0) throw io_error("cannot read", path, errno);
    if (n == 0) return text;
    text.append(chunk, static_cast<std::size_t>(n));
    if (text.size() > most)
      throw Error(ErrorId::protocol, fmt::format("{} is too big", escaped(path)));
  }
}

std::optional<Json> read_json(const std::string& path) {
  const std::optional<std::string> text = read_file(path);
  if (!text) return std::nullopt;
  Result<Json> value = parse_json(*text);
  if (!value || !value->is_object())
    throw Error(ErrorId::protocol, fmt::format("{} cannot be understood", escaped(path)));
  return *std::move(value);
}

void remove_all(const std::string& path) noexcept {
  std::error_code ignored;  // it is looked for again whenever states are read
  std::filesystem::remove_all(path, ignored);
}

std::vector<std::string> entries(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code failure;
  for (std::filesystem::directory_iterator it(dir, failure), end; !failure && it != end;
       it.increment(failure))
    names.push_back(it->path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::optional<Fd> try_lock(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) throw io_error("cannot open", path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno != EWOULDBLOCK) throw io_error("cannot lock", path, errno);
  return std::nullopt;
}

}  // namespace vmferry::qmp
