#include "transports/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstring>
#include <optional>

#include "core/async/race.hpp"
#include "core/async/signal.hpp"
#include "core/base/text.hpp"
#include "transports/socket_stream.hpp"

namespace vmferry {
namespace {

using Local = asio::local::stream_protocol;
constexpr std::size_t kStderrKept = 8192;

Error cannot_start(const std::string& program, int error) {
  return {ErrorId::connect_failed,
          fmt::format("cannot start {}: {}", escaped(program, 256), std::strerror(error))};
}

// posix_spawn's attributes and actions, freed whatever happens.
struct SpawnPlan {
  SpawnPlan() {
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&actions);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t actions{};
};

pid_t spawn(const std::vector<std::string>& argv, int io, int err) {
  SpawnPlan plan;
  sigset_t none, standard;
  ::sigemptyset(&none);
  ::sigemptyset(&standard);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD})
    ::sigaddset(&standard, number);
  ::posix_spawnattr_setsigmask(&plan.attributes, &none);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &standard);
  ::posix_spawnattr_setpgroup(&plan.attributes, 0);
  ::posix_spawnattr_setflags(
      &plan.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawn_file_actions_adddup2(&plan.actions, io, 0);
  ::posix_spawn_file_actions_adddup2(&plan.actions, io, 1);
  ::posix_spawn_file_actions_adddup2(&plan.actions, err, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = -1;
  const int error =
      ::posix_spawnp(&pid, words[0], &plan.actions, &plan.attributes, words.data(), ::environ);
  if (error != 0) throw cannot_start(argv[0], error);
  return pid;
}

// A child process, reaped by whoever asks first.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}

  std::optional<int> poll() {
    if (pid_ <= 0) return status_;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = status;
      pid_ = -1;
    }
    return status_;
  }

  // Blocks for a fifth of a second at most: this is the end of a program that was asked to go.
  void end() noexcept {
    if (poll() || pid_ <= 0) return;
    ::kill(-pid_, SIGTERM);
    for (int i = 0; i < 20 && !poll(); ++i) ::usleep(10'000);
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    int status = 0;
    if (::waitpid(pid_, &status, 0) == pid_) status_ = status;
    pid_ = -1;
  }

 private:
  pid_t pid_;
  std::optional<int> status_;
};

std::string describe(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was killed by signal {}", WTERMSIG(status));
  return fmt::format("ended with status {}", WEXITSTATUS(status));
}

// The program's standard error, read all the time so that it never blocks the program.
class Complaints : public std::enable_shared_from_this<Complaints> {
 public:
  Complaints(const Executor& ex, int fd) : pipe_(ex, fd), changed_(ex) {}

  void read() {
    pipe_.async_read_some(
        asio::buffer(chunk_),
        [self = shared_from_this()](const asio::error_code& failure, std::size_t n) {
          self->keep(n);
          if (!failure) return self->read();
          self->ended_ = true;
          self->changed_.notify();
        });
  }
  void close() noexcept {
    asio::error_code ignored;  // the descriptor is gone in any case
    pipe_.close(ignored);
  }
  Task<> wait_for_end() {
    while (!ended_) co_await changed_.wait();
  }
  const std::string& text() const { return text_; }

 private:
  void keep(std::size_t n) {
    text_.append(chunk_.data(), n);
    if (text_.size() > kStderrKept) text_.erase(0, text_.size() - kStderrKept);
  }

  asio::posix::stream_descriptor pipe_;
  Signal changed_;
  std::array<char, 4096> chunk_{};
  std::string text_;
  bool ended_ = false;
};

// One run of a program, without its input and output.
struct Run {
  Run(const Executor& ex, Clock& c, std::string name, int err, pid_t pid)
      : clock(c),
        program(std::move(name)),
        complaints(std::make_shared<Complaints>(ex, err)),
        child(pid) {}

  // What it has to say about its end may come a moment later than the end of its output.
  Task<> last_words() {
    Task<> said = complaints->wait_for_end();
    Task<> limit = clock.sleep(Millis(500));
    co_await first_of(std::move(said), std::move(limit));
    for (int i = 0; i < 20 && !child.poll(); ++i) co_await clock.sleep(Millis(5));
  }

  std::string explain() {
    const std::string said = escaped_lines(complaints->text(), kStderrKept);
    const auto status = child.poll();
    std::string out = fmt::format("the program {} {}", escaped(program, 256),
                                  status ? describe(*status) : "closed its output");
    return said.empty() ? out : fmt::format("{}: {}", out, said);
  }

  // It ended before it sent a byte: there never was a connection.
  Error early_end() { return {ErrorId::connect_failed, explain() + ", and sent nothing"}; }

  Clock& clock;
  std::string program;
  std::shared_ptr<Complaints> complaints;
  Child child;
  bool heard = false;   // it sent something
  bool closed = false;  // by us
};

class CommandStream final : public Stream {
 public:
  CommandStream(const Executor& ex, Clock& clock, std::string program, int io, int err, pid_t pid)
      : program_(std::move(program)),
        io_(Local::socket(ex, Local(), io), program_),
        run_(std::make_shared<Run>(ex, clock, program_, err, pid)) {
    run_->complaints->read();
  }
  ~CommandStream() override { CommandStream::close(); }

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    const auto run = run_;  // outlives this object while we wait
    const std::size_t n = co_await io_.read_some(into);
    if (n == 0) {
      co_await run->last_words();
      if (!run->heard) throw run->early_end();
    }
    run->heard = true;
    co_return n;
  }

  Task<> write_all(std::span<const std::byte> from) override {
    const auto run = run_;
    Task<> writing = io_.write_all(from);
    Result<> written = co_await settle(std::move(writing));
    if (written) co_return;
    if (run->closed || written.error().id != ErrorId::connect_lost)
      throw std::move(written).error();
    // A broken pipe: its reason is in what the program said.
    co_await run->last_words();
    if (!run->heard) throw run->early_end();
    throw std::move(written).error().note(run->explain());
  }
  Task<> finish_writing() override { return io_.finish_writing(); }

  void close() noexcept override {
    io_.close();
    run_->closed = true;
    run_->complaints->close();
    run_->child.end();
  }

  std::string explain_end() override { return run_->explain(); }

 private:
  std::string program_;
  SocketStream<Local::socket> io_;
  std::shared_ptr<Run> run_;
};

struct Descriptors {
  Descriptors() = default;
  Descriptors(Descriptors&& other) noexcept
      : ours(std::exchange(other.ours, -1)), theirs(std::exchange(other.theirs, -1)) {}
  Descriptors& operator=(Descriptors&&) = delete;
  int ours = -1, theirs = -1;
  ~Descriptors() {
    if (ours >= 0) ::close(ours);
    if (theirs >= 0) ::close(theirs);
  }
};

// The running program and our end of its input and output.
struct Started {
  Descriptors io, err;
  pid_t pid = -1;
};

Started start(const std::vector<std::string>& argv) {
  if (argv.empty() || argv[0].empty()) throw cannot_start("a program without a name", EINVAL);
  int pair[2], pipe[2];
  Started out;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    throw cannot_start(argv[0], errno);
  out.io.ours = pair[0];
  out.io.theirs = pair[1];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw cannot_start(argv[0], errno);
  out.err.ours = pipe[0];
  out.err.theirs = pipe[1];
  out.pid = spawn(argv, out.io.theirs, out.err.theirs);
  return out;
}

std::unique_ptr<Stream> stream_of(const Executor& ex, Clock& clock, const std::string& program,
                                  Started& started) {
  return std::make_unique<CommandStream>(ex, clock, program, std::exchange(started.io.ours, -1),
                                         std::exchange(started.err.ours, -1), started.pid);
}

}  // namespace

std::unique_ptr<Stream> run_command(const Executor& ex, Clock& clock,
                                    const std::vector<std::string>& argv) {
  Started started = start(argv);
  return stream_of(ex, clock, argv[0], started);
}

ProgramSocket run_for_socket(const Executor& ex, Clock& clock,
                             const std::vector<std::string>& argv) {
  Started started = start(argv);
  const int copy = ::fcntl(started.io.ours, F_DUPFD_CLOEXEC, 3);
  const int error = errno;
  auto process = stream_of(ex, clock, argv[0], started);
  if (copy < 0) throw cannot_start(argv[0], error);
  Local::socket socket(ex, Local(), copy);
  return {std::move(socket), std::move(process)};
}

}  // namespace vmferry
