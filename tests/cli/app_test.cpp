#include "cli/app.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/spec.hpp"
#include "tests/support/kept_sink.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;
using namespace vmferry::cli;

namespace {

Task<std::unique_ptr<Host>> never(std::string) {
  const auto ex = co_await asio::this_coro::executor;
  Signal nobody(ex);
  while (true) co_await nobody.wait();
}
Task<std::unique_ptr<Host>> refuse(std::string uri) {
  throw Error(ErrorId::connect_failed, "nobody listens at " + uri);
  co_return nullptr;
}

// One run of the program, with an opener instead of hosts.
struct Program {
  asio::io_context io;
  SystemClock clock;
  Stop stop{io.get_executor()};
  KeptSink sink;
  Opener open = refuse;

  Exit operator()(std::vector<std::string> words) {
    Surroundings around{.executor = io.get_executor(),
                        .clock = clock,
                        .stop = stop,
                        .open = open,
                        .sink = sink,
                        .environment = [](const std::string&) { return std::nullopt; }};
    return run(io, run_command_line(around, std::move(words)));
  }
};

}  // namespace

TEST_CASE("app: help, version, and a wrong command line") {
  Program help, version, wrong;
  CHECK(help({"--help"}) == Exit::done);
  CHECK(help.sink.written.contains("Exit status"));
  CHECK(version({"list", "--version"}) == Exit::done);
  CHECK(version.sink.written == "vmferry " VMFERRY_VERSION "\n");
  CHECK(wrong({"list", "--nonsense"}) == Exit::usage);
  CHECK(wrong.sink.complained.starts_with("error: "));
  CHECK(wrong.sink.written.empty());
}

TEST_CASE("app: a host that cannot be reached") {
  Program text, json;
  CHECK(text({"-c", "qemu+tcp://h/system", "list"}) == Exit::connect);
  CHECK(text.sink.complained.contains("nobody listens at qemu+tcp://h/system"));
  CHECK(json({"-c", "x:///y", "list", "-o", "json"}) == Exit::connect);
  CHECK(nlohmann::json::parse(json.sink.written)["error"]["exit"] == 4);
  CHECK(json.sink.complained.empty());
}

TEST_CASE("app: Ctrl-C ends a command that waits") {
  Program program;
  program.open = never;
  program.stop.request("Ctrl-C");
  CHECK(program({"-c", "x:///y", "list"}) == Exit::cancelled);
  CHECK(program.sink.complained.contains("stopped by Ctrl-C"));
}

TEST_CASE("app: every command that needs a host says when there is none") {
  for (const Command* c : commands()) {
    if (c->positionals.size() > 1 || c->hidden || c->name == "serve") continue;
    Program program;
    std::vector<std::string> words = {"-c", "x:///y", std::string(c->name)};
    if (!c->positionals.empty() && c->name != "define" && c->group == "Domains")
      words.emplace_back("web1");
    INFO(c->name);
    const Exit exit = program(words);
    CHECK((exit == Exit::connect || exit == Exit::done || exit == Exit::usage));
    if (exit == Exit::connect) CHECK(program.sink.complained.contains("nobody listens"));
  }
}
