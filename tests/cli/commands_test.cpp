// The commands about domains, jobs and hosts, over a simulated host.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/app.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/drivers/test/open.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;
using namespace vmferry::cli;

namespace {

struct Kept final : Sink {
  std::string written, complained;
  void out(std::string_view text) override { written += text; }
  void err(std::string_view text) override { complained += text; }
};

// Several runs of the program that see the same simulated hosts.
struct Session {
  asio::io_context io;
  SystemClock clock;
  Stop stop{io.get_executor()};
  sim::TestDriver driver{clock};
  std::string complained;

  std::string operator()(std::vector<std::string> words, Exit expected = Exit::done) {
    Kept sink;
    words.insert(words.begin(), {"-c", "test:///default"});
    Surroundings around{.executor = io.get_executor(),
                        .clock = clock,
                        .stop = stop,
                        .open = [this](std::string uri) { return driver.open(std::move(uri)); },
                        .sink = sink,
                        .environment = [](const std::string&) { return std::nullopt; }};
    const Exit exit = run(io, run_command_line(around, words));
    INFO(words[2]);
    INFO(sink.complained);
    CHECK(exit == expected);
    complained = sink.complained;
    return sink.written;
  }
};

}  // namespace

TEST_CASE("commands: list") {
  Session vmferry;
  CHECK(vmferry({"list", "--name"}) == "web1\ndb1\n");
  CHECK(vmferry({"list", "--inactive", "--name"}) == "idle1\n");
  CHECK(vmferry({"list", "--all", "--id", "--name"}) == "1 web1\n2 db1\n- idle1\n");
  CHECK(vmferry({"list", "--state-shutoff", "--name"}) == "idle1\n");
  CHECK(vmferry({"list", "--all"}).starts_with(" Id   Name    State\n-----"));
  const auto json = nlohmann::json::parse(vmferry({"list", "--all", "-o", "json"}));
  REQUIRE(json.size() == 3);
  CHECK(json[0]["state"] == "running");
  CHECK(json[2]["id"].is_null());
  vmferry({"list", "--table", "--name"}, Exit::usage);
}

TEST_CASE("commands: the life of a domain") {
  Session vmferry;
  CHECK(vmferry({"start", "idle1"}) == "Domain 'idle1' started\n");
  CHECK(vmferry({"domstate", "idle1", "--reason"}) == "running (booted)\n");
  CHECK(vmferry({"suspend", "idle1"}) == "Domain 'idle1' suspended\n");
  CHECK(vmferry({"domstate", "--domain", "idle1"}) == "paused\n");
  CHECK(vmferry({"resume", "idle1"}) == "Domain 'idle1' resumed\n");
  CHECK(vmferry({"destroy", "idle1"}) == "Domain 'idle1' destroyed\n");
  CHECK(vmferry({"domstate", "idle1"}) == "shut off\n");
  CHECK(vmferry({"undefine", "idle1"}) == "Domain 'idle1' has been undefined\n");
  CHECK(vmferry({"domstate", "idle1"}, Exit::not_found).empty());
  CHECK(vmferry.complained.contains("vmferry explain domain.none"));
  CHECK(vmferry({"start", "web1"}, Exit::failed).empty());
}

TEST_CASE("commands: what a host says") {
  Session vmferry;
  const std::string info = vmferry({"dominfo", "web1"});
  CHECK(info.contains("Name:           web1\n"));
  CHECK(info.contains("Max memory:     1048576 KiB\n"));
  CHECK(vmferry({"dumpxml", "web1"}).contains("<name>web1</name>"));
  CHECK(vmferry({"nodeinfo"}).contains("CPU model:           x86_64\n"));
  CHECK(vmferry({"hostname"}) == "default\n");
  CHECK(vmferry({"version"}).contains("Running hypervisor: TEST "));
  CHECK(vmferry({"capabilities", "--migration"}).contains("protocol versions"));
  CHECK(vmferry({"capabilities", "--migration", "--xml"}).contains("<live/>"));
  CHECK(vmferry({"uri"}).contains("test:///"));
}

TEST_CASE("commands: a document is byte-exact in a pipe and harmless on a terminal") {
  asio::io_context io;
  SystemClock clock;
  Stop stop(io.get_executor());
  Kept pipe, screen;
  Context context{.executor = io.get_executor(), .clock = clock, .stop = stop, .sink = pipe};
  print_document(context, "xml", "<a>\n\x1b[2J\t</a>\n\n");
  CHECK(pipe.written == "<a>\n\x1b[2J\t</a>\n");
  Context terminal{.executor = io.get_executor(),
                   .clock = clock,
                   .stop = stop,
                   .sink = screen,
                   .terminal = {.out = true}};
  print_document(terminal, "xml", "<a>\n\x1b[2J</a>\n");
  CHECK(screen.written == "<a>\n\\x1b[2J</a>\n");
}

TEST_CASE("commands: a domain's job and its knobs") {
  Session vmferry;
  CHECK(vmferry({"domjobinfo", "web1"}) == "Job type:         None        \n");
  CHECK(vmferry({"migrate-setspeed", "web1", "20"}).empty());
  CHECK(vmferry({"migrate-getspeed", "web1"}) == "20\n");
  CHECK(vmferry({"migrate-compcache", "web1", "64MiB"}) == "Compression cache: 64.000 MiB\n");
  vmferry({"domjobabort", "web1"}, Exit::failed);
  CHECK(vmferry.complained.starts_with("error: "));
}

TEST_CASE("commands: plan and help contact nobody more than they must") {
  Session vmferry;
  CHECK(vmferry({"plan", "web1", "test:///other"}).contains("web1 runs on other"));
  CHECK(vmferry({"help"}).contains("migrate"));
  CHECK(vmferry({"help", "list"}).contains("--inactive"));
  vmferry({"help", "nonsense"}, Exit::usage);
  const auto json = nlohmann::json::parse(vmferry({"help", "list", "-o", "json"}));
  CHECK(json["options"].size() > 5);
}

TEST_CASE("commands: completion asks the host, and is silent when it cannot") {
  Session vmferry;
  const std::string all = vmferry({"complete", "--", "domstate", ""});
  CHECK(all.contains("web1\trunning\n"));
  CHECK(all.contains("idle1\tshut off\n"));
  CHECK(vmferry({"complete", "--", "start", ""}) == "idle1\tshut off\n");
  vmferry({"complete", "--", "-c", "test:///absent", "domstate", ""}, Exit::connect);
  CHECK(vmferry.complained.empty());
}
