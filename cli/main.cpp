// The composition root: the event loop, signals, and the one place that joins drivers and
// transports.
#include <sys/ioctl.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "cli/app.hpp"
#include "cli/output.hpp"

namespace vmferry::cli {
namespace {

class Descriptors final : public Sink {
 public:
  void out(std::string_view text) override { write_all(1, text); }
  void err(std::string_view text) override { write_all(2, text); }

 private:
  // A reader that went away (`| head`) is no error of ours; there is nobody left to tell.
  static void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(fd, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
};

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (!value) return std::nullopt;
  return std::string(value);
}

Terminal terminal() {
  Terminal t;
  t.in = isatty(0) != 0;
  t.out = isatty(1) != 0;
  t.err = isatty(2) != 0;
  const bool plain =
      !environment("NO_COLOR").value_or("").empty() || environment("TERM").value_or("") == "dumb";
  t.colour = (t.out || t.err) && !plain;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = environment(name).value_or("");
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

// Scheme of a connection URI -> driver and transport.
Task<std::unique_ptr<Host>> open_host(std::string uri) {
  throw Error(ErrorId::unsupported, "no driver opens " + printable(uri));
  co_return nullptr;
}

int run(std::vector<std::string> words) {
  asio::io_context io(1);
  SystemClock clock;
  Stop stop(io.get_executor());
  Descriptors sink;
  asio::signal_set signals(io, SIGINT, SIGTERM);
  std::signal(SIGPIPE, SIG_IGN);
  asio::co_spawn(io, watch_signals(signals, stop), [](const std::exception_ptr&) {});

  Surroundings around{.executor = io.get_executor(),
                      .clock = clock,
                      .stop = stop,
                      .open = open_host,
                      .sink = sink,
                      .environment = environment,
                      .terminal = terminal(),
                      .root = geteuid() == 0};
  Exit exit = Exit::internal;
  asio::co_spawn(io, run_command_line(around, std::move(words)),
                 [&](const std::exception_ptr& failure, Exit value) {
                   if (!failure) exit = value;
                   signals.cancel();
                 });
  io.run();
  return static_cast<int>(exit);
}

}  // namespace
}  // namespace vmferry::cli

int main(int argc, char** argv) {
  return vmferry::cli::run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
