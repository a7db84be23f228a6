// The examples of the manual and of README.md are run. Hosts of QEMU in them are simulated ones
// that have their names and follow libvirt's qemu driver's rules; what needs bare QEMU or a server
// of its own is run in tests/lab instead, and only parsed here.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <regex>

#include "cli/app.hpp"
#include "cli/parse.hpp"
#include "core/async/sim_clock.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/test/open.hpp"

using namespace vmferry;
using namespace vmferry::cli;

namespace {

// Both outputs in one, as a person sees them.
struct Screen final : Sink {
  std::string text;
  void out(std::string_view more) override { text += more; }
  void err(std::string_view more) override { text += more; }
};

// "qemu+ssh://host2/system" is the simulated host2; without a host it is host1.
std::string simulated(const std::string& text) {
  const auto uri = parse_connect_uri(text);
  if (!uri || uri->driver != "qemu") return text;
  const std::string host = uri->uri.host.empty() ? "host1" : uri->uri.host;
  return "test:///" VMFERRY_TESTS_DIR "/cli/examples.xml?host=" + host;
}

// One run of the program in virtual time, with simulated hosts of its own, as every process has.
struct Once {
  asio::io_context io{1};
  SimClock clock{io};
  Stop stop{io.get_executor()};
  sim::TestDriver driver{clock};
  Screen screen;

  Task<std::unique_ptr<Host>> open(std::string uri) { return driver.open(simulated(uri)); }

  Exit operator()(std::vector<std::string> words) {
    const Opener opener = [this](std::string uri) { return open(std::move(uri)); };
    driver.set_opener(opener);
    Surroundings around{.executor = io.get_executor(),
                        .clock = clock,
                        .stop = stop,
                        .open = opener,
                        .sink = screen,
                        .environment = [](const std::string& name) -> std::optional<std::string> {
                          if (name == "VMFERRY_URI") return "qemu:///system";
                          return std::nullopt;
                        }};
    return clock.run(run_command_line(around, std::move(words)));
  }
};

// The words of a command line, without "vmferry"; quotes as in a shell, a comment after " # ".
std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> out;
  std::string word;
  bool quoted = false;
  for (const char c : line.substr(0, line.find(" # "))) {
    if (c == '\'')
      quoted = !quoted;
    else if (c != ' ' || quoted)
      word += c;
    else if (!word.empty())
      out.push_back(std::exchange(word, {}));
  }
  if (!word.empty()) out.push_back(word);
  REQUIRE((!out.empty() && out.front() == "vmferry"));
  out.erase(out.begin());
  return out;
}

bool needs_more_than_simulation(const Command& c, std::string_view line) {
  return c.name == "serve" || line.contains("qmp:///");
}

// Times differ from run to run; a phase that took none is not named.
std::string timeless(const std::string& text) {
  static const std::regex phases("\ntook [^\n]*");
  static const std::regex time("[0-9]+(\\.[0-9]+)? (us|ms|s|min|h)\\b");
  return std::regex_replace(std::regex_replace(text, phases, "\ntook TIME"), time, "TIME");
}

struct Shown {
  std::string command, output;
};

// The commands of README.md's section "Examples", each with what stands below it.
std::vector<Shown> shown_in_readme() {
  std::ifstream in(VMFERRY_TESTS_DIR "/../README.md");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t from = text.find("\n## Examples\n");
  REQUIRE(from != std::string::npos);
  std::vector<Shown> out;
  bool inside = false;
  for (const std::string_view line : split(std::string_view(text).substr(from + 1), '\n')) {
    if (line.starts_with("## ") && line != "## Examples") break;
    if (line.starts_with("    $ ")) {
      out.push_back({std::string(line.substr(6)), {}});
      inside = true;
    } else if (inside && (line.starts_with("    ") || line.empty())) {
      out.back().output += std::string(line.empty() ? line : line.substr(4)) + "\n";
    } else {
      inside = false;
    }
  }
  for (Shown& s : out) s.output = std::string(trimmed(s.output)) + "\n";
  return out;
}

}  // namespace

TEST_CASE("examples: every one of the manual runs") {
  int ran = 0;
  for (const Command* c : commands())
    for (const std::string_view line : split(c->examples, '\n')) {
      if (trimmed(line).empty()) continue;
      INFO(std::string(line));
      const std::vector<std::string> words = words_of(line);
      Format format = Format::text;
      const auto parsed = parse(words, format);
      if (!parsed) INFO(parsed.error().message);
      CHECK(parsed.has_value());
      if (needs_more_than_simulation(*c, line)) continue;
      Once vmferry;
      const Exit exit = vmferry(words);
      INFO(vmferry.screen.text);
      CHECK(exit == Exit::done);
      ++ran;
    }
  CHECK(ran > 20);
}

TEST_CASE("examples: those of README.md print what it says") {
  const std::vector<Shown> all = shown_in_readme();
  CHECK(all.size() >= 10);
  for (const Shown& shown : all) {
    INFO(shown.command);
    Once vmferry;
    vmferry(words_of(shown.command));
    CHECK(timeless(std::string(trimmed(vmferry.screen.text)) + "\n") == timeless(shown.output));
  }
}
