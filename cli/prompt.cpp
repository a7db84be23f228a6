#include "cli/prompt.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "core/async/signal.hpp"

namespace vmferry::cli {

namespace {

constexpr std::size_t kLongestAnswer = 4096;

// Echo off while a secret is typed; put back whatever happens.
class Quiet {
 public:
  Quiet(int fd, bool echo) : fd_(fd) {
    if (echo || tcgetattr(fd, &before_) != 0) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = tcsetattr(fd, TCSAFLUSH, &silent) == 0;
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  ~Quiet() {
    if (!changed_) return;
    tcsetattr(fd_, TCSAFLUSH, &before_);
    const ssize_t ignored = ::write(fd_, "\n", 1);
    (void)ignored;
  }

 private:
  int fd_;
  bool changed_ = false;
  termios before_{};
};

}  // namespace

struct TerminalPrompter::Turn {
  explicit Turn(const Executor& ex) : changed(ex) {}
  Signal changed;
  bool taken = false;

  struct Holder {
    explicit Holder(Turn& t) : turn(t) { turn.taken = true; }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() {
      turn.taken = false;
      turn.changed.notify();
    }
    Turn& turn;
  };
};

// No deadline: a person thinks. Ctrl-C ends it through cancellation.
Task<std::optional<std::string>> TerminalPrompter::ask(std::string question, bool echo) {
  const auto ex = co_await asio::this_coro::executor;
  auto turn = turn_.lock();
  if (!turn) {
    turn = std::make_shared<Turn>(ex);
    turn_ = turn;
  }
  while (turn->taken) co_await turn->changed.wait();
  const Turn::Holder holder(*turn);
  const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) co_return std::nullopt;
  asio::posix::stream_descriptor tty(ex, fd);
  const Quiet quiet(fd, echo);
  const ssize_t asked = ::write(fd, question.data(), question.size());
  std::string line;
  while (asked >= 0 && line.size() < kLongestAnswer) {
    char piece[256];
    const auto buffer = asio::buffer(piece);
    const std::size_t n = co_await tty.async_read_some(buffer, asio::use_awaitable);
    line.append(piece, n);
    const auto end = line.find('\n');
    if (end == std::string::npos && n != 0) continue;
    if (end == std::string::npos) break;
    co_return line.substr(0, end);
  }
  co_return std::nullopt;
}

}  // namespace vmferry::cli
