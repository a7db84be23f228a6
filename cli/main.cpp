// The composition root: the event loop, signals, and the one place that joins drivers and
// transports.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <atomic>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>

#include "cli/app.hpp"
#include "cli/data_network.hpp"
#include "cli/output.hpp"
#include "cli/prompt.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/drivers/remote/remote.hpp"
#include "core/drivers/test/open.hpp"
#include "transports/dial.hpp"
#include "transports/listen.hpp"
#include "transports/unix.hpp"

namespace vmferry::cli {
namespace {

// Writes at once what can be written at once. The rest is left to a thread: a terminal that was
// stopped with Ctrl-S, or a reader that does not read, must not hold up a migration.
class Descriptors final : public Sink {
 public:
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() override { finish(); }
  void out(std::string_view text) override { write(1, text); }
  void err(std::string_view text) override { write(2, text); }
  /// Returns once everything is written, however long that takes.
  void finish() {
    if (!writer_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    writer_.join();
  }
  /// Why a result could not be written; 0: it was.
  int failure() const { return failure_; }

 private:
  void write(int fd, std::string_view text) {
    if (!writer_.joinable()) text = write_some(fd, text, false);
    if (text.empty()) return;
    {
      const std::lock_guard lock(mutex_);
      waiting_.emplace_back(fd, text);
    }
    if (!writer_.joinable()) writer_ = std::thread([this] { write_waiting(); });
    changed_.notify_one();
  }

  void write_waiting() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const auto [fd, text] = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      write_some(fd, text, true);
      lock.lock();
    }
  }

  // Returns what would have to wait, if it is not to be waited for.
  std::string_view write_some(int fd, std::string_view text, bool wait) {
    while (!text.empty()) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      if (poll(&ready, 1, wait ? -1 : 0) == 0) return text;
      // As much as a pipe takes whole when it says that it is ready.
      const ssize_t n = ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
      if (n >= 0 || errno == EINTR || errno == EAGAIN) continue;
      // A reader that went away (`| head`) is no error of ours; there is nobody left to tell.
      if (fd == 1 && errno != EPIPE) failure_ = errno;
      return {};
    }
    return {};
  }

  std::atomic<int> failure_ = 0;
  std::thread writer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<int, std::string>> waiting_;
  bool over_ = false;
};

Terminal terminal() {
  Terminal t;
  t.in = isatty(0) != 0;
  t.out = isatty(1) != 0;
  t.err = isatty(2) != 0;
  const bool plain = !process_environment("NO_COLOR").value_or("").empty() ||
                     process_environment("TERM").value_or("") == "dumb";
  t.colour = (t.out || t.err) && !plain;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = process_environment(name).value_or("");
    if (value.empty()) continue;
    t.utf8 = value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
    break;
  }
  winsize size{};
  if (ioctl(t.err ? 2 : 1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) t.columns = size.ws_col;
  return t;
}

Task<> watch_signals(asio::signal_set& signals, Stop& stop) {
  while (true) {
    const int number = co_await signals.async_wait(asio::use_awaitable);
    stop.request(number == SIGINT ? "Ctrl-C" : "SIGTERM");
  }
}

// A unix socket for one connection.
class OneDoor final : public Door {
 public:
  explicit OneDoor(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}
  Task<std::unique_ptr<Stream>> accept() override {
    Accepted accepted = co_await listener_->accept();
    co_return std::move(accepted.stream);
  }
  void close() noexcept override { listener_->close(); }

 private:
  std::unique_ptr<Listener> listener_;
};

std::unique_ptr<Door> open_door(const Executor& executor, const std::string& path) {
  return std::make_unique<OneDoor>(listen_unix(executor, path));
}

// The drivers, and how each is reached. A scheme with a transport (qmp+ssh, test+unix) is served at
// the other end, by a libvirt daemon or `vmferry serve`.
struct OpenHost {
  Clock* clock;
  Sink* sink;
  Prompter* prompter;
  sim::TestDriver* test;

  Task<std::unique_ptr<Host>> operator()(std::string text) const {
    return open(*this, std::move(text));
  }

 private:
  static QmpEnvironment qmp_environment(const OpenHost& self) {
    return {.clock = *self.clock,
            .dial = [clock = self.clock](
                        std::string path) { return connect_unix(*clock, std::move(path)); },
            .notice =
                [sink = self.sink](const std::string& what) {
                  sink->err(fmt::format("note: {}\n", escaped_lines(what)));
                },
            .listen = open_door,
            .open = self};
  }

  static Task<std::unique_ptr<Host>> open(OpenHost self, std::string text) {
    const ConnectUri uri = value_or_throw(parse_connect_uri(text));
    if (uri.driver == "test" && uri.transport == Transport::none && uri.uri.host.empty()) {
      Task<std::unique_ptr<Host>> simulated = self.test->open(std::move(text));
      co_return co_await std::move(simulated);
    }
    if (uri.driver == "qmp" && uri.transport == Transport::none && uri.uri.host.empty()) {
      Task<std::unique_ptr<Host>> here = open_qmp(std::move(text), qmp_environment(self));
      std::unique_ptr<Host> bare = co_await std::move(here);
      co_return bare;
    }
    DialOptions options;
    options.prompter = self.prompter;
    options.warn = [sink = self.sink](const std::string& what) {
      sink->err(fmt::format("warning: {}\n", escaped_lines(what)));
    };
    Task<std::unique_ptr<Stream>> dialling = dial(uri, *self.clock, options);
    std::unique_ptr<Stream> stream = co_await std::move(dialling);
    RemoteOptions remote;
    remote.name = uri.open_name();
    remote.auth = uri.auth.value_or("");
    auto opening = open_remote(std::move(stream), *self.clock, std::move(remote));
    std::unique_ptr<Host> host = co_await std::move(opening);
    co_return host;
  }
};

int run(std::vector<std::string> words) {
  SystemClock clock;  // before the loop: what is left in it when it ends still refers to these
  Descriptors sink;
  TerminalPrompter prompter;
  sim::TestDriver test(clock);
  asio::io_context io(1);
  Stop stop(io.get_executor());
  asio::signal_set signals(io, SIGINT, SIGTERM);
  std::signal(SIGPIPE, SIG_IGN);
  asio::co_spawn(io, watch_signals(signals, stop), [](const std::exception_ptr&) {});

  const OpenHost open_host{&clock, &sink, &prompter, &test};
  test.set_opener(open_host);
  test.set_network(data_network(clock, process_environment));
  Surroundings around{.executor = io.get_executor(),
                      .clock = clock,
                      .stop = stop,
                      .open = open_host,
                      .sink = sink,
                      .environment = process_environment,
                      .terminal = terminal(),
                      .root = geteuid() == 0};
  Exit exit = Exit::internal;
  asio::co_spawn(io, run_command_line(around, std::move(words)),
                 [&](const std::exception_ptr& failure, Exit value) {
                   if (!failure) exit = value;
                   io.stop();
                 });
  io.run();
  sink.finish();
  if (sink.failure() != 0) {
    const std::string why = std::system_category().message(sink.failure());
    print_error(sink, Format::text, around.terminal,
                Error(ErrorId::io, "the result could not be written: " + why));
    if (exit == Exit::done) exit = Exit::failed;
  }
  return static_cast<int>(exit);
}

}  // namespace
}  // namespace vmferry::cli

int main(int argc, char** argv) {
  return vmferry::cli::run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
