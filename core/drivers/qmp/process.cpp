#include "core/drivers/qmp/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "core/async/race.hpp"
#include "core/base/text.hpp"

namespace vmferry::qmp {

// A zombie's other threads may still hold its files, locks and ports; only a thread that has let
// go of them all leaves this directory.
static bool has_living_thread(std::int32_t pid) {
  return entries(fmt::format("/proc/{}/task", pid)).size() > 1;
}

ProcessId process_now(std::int32_t pid) {
  ProcessId id{pid, 0};
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return id;
  const std::size_t after_name = text->rfind(')');
  if (after_name == std::string::npos) return id;
  const auto fields = split(std::string_view(*text).substr(after_name + 1), ' ');
  // Field 3 (state) is fields[1] here, so field 22 (start time) is fields[20].
  if (fields.size() < 21) return id;
  if ((fields[1] == "Z" || fields[1] == "X") && !has_living_thread(pid)) return id;
  id.start = parse_number<std::uint64_t>(fields[20]).value_or(0);
  return id;
}

bool alive(const ProcessId& id) {
  if (id.pid <= 0 || id.start == 0) return false;
  try {
    return process_now(id.pid) == id;
  } catch (const Error&) {
    return false;  // it went while it was read
  }
}

namespace {

/// A stack for a process that shares our memory; execvp() puts paths on it.
struct Stack {
  std::vector<std::max_align_t> words = std::vector<std::max_align_t>(4096);
  void* top() { return words.data() + words.size(); }
};

// What a new process needs, in memory that is borrowed from ours until it has its own.
struct Start {
  const Launch& launch;
  char* const* argv;
  int log, pid_file;
  int report;        ///< takes errno if the program cannot be run
  int number;        ///< takes its process id
  Stack stack = {};  ///< its own
};

// Like vfork(2), but with a stack of its own, as posix_spawn(3) does it: copying our page tables,
// as fork(2) does, takes longer than all the rest. Only calls that are safe there
// (signal-safety(7)).
pid_t begin(int (*function)(void*), Start& start, Stack& stack) {
  return ::clone(function, stack.top(), CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
}

// The sanitizer knows nothing of that stack.
__attribute__((no_sanitize("address"))) int become(void* argument) {
  const Start& start = *static_cast<Start*>(argument);
  char text[24];
  int length = 0;
  for (pid_t pid = ::getpid(); pid > 0; pid /= 10)
    text[sizeof text - 1 - length++] = static_cast<char>('0' + pid % 10);
  const char* digits = text + sizeof text - length;
  bool ok = ::write(start.pid_file, digits, static_cast<std::size_t>(length)) == length;
  ok = ok && ::chdir(start.launch.directory.c_str()) == 0;
  const int null = ::open("/dev/null", O_RDONLY);
  ok = ok && ::dup2(null, 0) == 0 && ::dup2(start.log, 1) == 1 && ::dup2(start.log, 2) == 2;
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  for (const int fd : start.launch.keep) ::fcntl(fd, F_SETFD, 0);
  for (int s = 1; s < 32; ++s) ::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (ok) ::execvp(start.argv[0], start.argv);
  const int why = errno;
  const ssize_t told = ::write(start.report, &why, sizeof why);
  ::_exit(told == sizeof why ? 127 : 126);
}

// Ends at once, so that the other is nobody's child.
__attribute__((no_sanitize("address"))) int begin_orphan(void* argument) {
  Start& start = *static_cast<Start*>(argument);
  ::setsid();
  const pid_t pid = begin(become, start, start.stack);
  const ssize_t told = ::write(start.number, &pid, sizeof pid);
  ::_exit(told == sizeof pid ? 0 : 1);
}

struct Pipe {
  Fd read, write;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw io_error("cannot make", "a pipe", errno);
    read = Fd(ends[0]);
    write = Fd(ends[1]);
  }
};

/// While it lives no signal is delivered to this thread: its handler would run in the new process,
/// too, and in memory that both have.
class Undisturbed {
 public:
  Undisturbed() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~Undisturbed() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  sigset_t before_{};
};

Fd open_for(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw io_error("cannot open", path, errno);
  return fd;
}

}  // namespace

ProcessId spawn(const Launch& launch) {
  std::vector<char*> argv;
  for (const std::string& word : launch.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const Fd log = open_for(launch.log, O_APPEND);
  const Fd pid_file = open_for(launch.pid_file, O_TRUNC);
  Pipe report, number;
  Start start{.launch = launch,
              .argv = argv.data(),
              .log = log.get(),
              .pid_file = pid_file.get(),
              .report = report.write.get(),
              .number = number.write.get()};
  Stack stack;
  pid_t middle = -1;
  {
    const Undisturbed undisturbed;
    middle = begin(begin_orphan, start, stack);
  }
  if (middle < 0) throw io_error("cannot start", launch.argv[0], errno);
  int ignored = 0;
  while (::waitpid(middle, &ignored, 0) < 0 && errno == EINTR) {
  }
  pid_t pid = -1;
  const ssize_t got = ::read(number.read.get(), &pid, sizeof pid);
  if (got != sizeof pid || pid <= 0) throw io_error("cannot start", launch.argv[0], EAGAIN);
  report.write = Fd();  // ours; the other closes with exec
  int why = 0;
  if (::read(report.read.get(), &why, sizeof why) == sizeof why) {
    Error error = io_error("cannot run", launch.argv[0], why);
    if (why == ENOENT) error.id = ErrorId::not_found;
    throw error;
  }
  return process_now(pid);
}

static Task<> wait_end(Fd pidfd) {
  const auto ex = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor descriptor(ex, pidfd.release());
  co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

Task<bool> ended_within(ProcessId id, Clock& clock, Micros limit) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!pidfd || !alive(id)) co_return true;
  Task<> ending = wait_end(std::move(pidfd));
  Task<> timer = clock.sleep(limit);
  const std::size_t first = co_await first_of(std::move(ending), std::move(timer));
  co_return first == 0;
}

void send_signal(const ProcessId& id, int number) {
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!pidfd || !alive(id)) return;
  // Through the descriptor: it is this process or none.
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0) != 0 && errno != ESRCH)
    throw Error(ErrorId::denied, fmt::format("QEMU process {} may not be ended by this user: {}",
                                             id.pid, std::strerror(errno)));
}

Task<> kill_and_wait(ProcessId id, Clock& clock) {
  kill_now(id);
  Task<bool> ending = ended_within(id, clock, std::chrono::seconds(30));
  const bool ended = co_await std::move(ending);
  if (!ended)
    throw Error(ErrorId::busy,
                fmt::format("QEMU process {} does not end, although killed", id.pid));
}

Fd listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(ErrorId::uri_invalid,
                fmt::format("{} is too long for the path of a socket", escaped(path)))
        .advise("Use a shorter directory.");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw io_error("cannot make", "a socket", errno);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), 4) != 0)
    throw io_error("cannot listen on", path, errno);
  return fd;
}

Fd make_memory(const std::string& name, std::uint64_t bytes) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!fd) throw io_error("cannot make", "memory for the guest", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    throw Error(ErrorId::memory_short,
                io_error("cannot size", "the guest's memory", errno).message);
  return fd;
}

std::optional<Fd> memory_of(const ProcessId& id, const std::string& name, std::uint64_t bytes) {
  if (!alive(id)) return std::nullopt;
  const std::string dir = fmt::format("/proc/{}/fd", id.pid);
  const std::string wanted = fmt::format("/memfd:{} (deleted)", name);
  for (const std::string& entry : entries(dir)) {
    const std::string path = dir + "/" + entry;
    char target[256];
    const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
    if (n <= 0 || std::string_view(target, static_cast<std::size_t>(n)) != wanted) continue;
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    struct stat info{};
    const bool fits =
        fd && ::fstat(fd.get(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == bytes;
    if (fits && alive(id)) return fd;
  }
  return std::nullopt;
}

std::string machine_token() {
  return std::string(trimmed(read_file("/proc/sys/kernel/random/boot_id").value_or("?")));
}

static std::string link_of(const std::string& path) {
  char target[4096];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return {target, n > 0 ? static_cast<std::size_t>(n) : 0};
}

static std::string token(const char* space) {
  return fmt::format("{}/{}", machine_token(), link_of(space));
}

std::string files_token(std::int32_t pid) {
  const std::string dir = fmt::format("/proc/{}/", pid);
  struct stat info{};
  const std::string space = link_of(dir + "ns/mnt"), root = link_of(dir + "root");
  if (::stat(dir.c_str(), &info) != 0 || space.empty() || root.empty()) return {};
  return fmt::format("{}/{}/{}{}", machine_token(), space, info.st_uid, root);
}

std::string host_token() { return token("/proc/self/ns/pid"); }
std::string network_token() { return token("/proc/self/ns/net"); }

}  // namespace vmferry::qmp
