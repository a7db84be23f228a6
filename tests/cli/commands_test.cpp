// The commands about domains, jobs and hosts, over a simulated host.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/app.hpp"
#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/drivers/test/open.hpp"
#include "tests/support/kept_sink.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;
using namespace vmferry::cli;

namespace {

// Several runs of the program that see the same simulated hosts.
struct Session {
  asio::io_context io;
  SystemClock clock;
  Stop stop{io.get_executor()};
  sim::TestDriver driver{clock};
  std::string complained;

  std::string operator()(std::vector<std::string> words, Exit expected = Exit::done) {
    KeptSink sink;
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

TEST_CASE("commands: list: every filter of virsh's") {
  Session vmferry;
  const auto names = [&](std::vector<std::string> filters) {
    filters.insert(filters.begin(), {"list", "--name"});
    return vmferry(filters);
  };
  CHECK(names({"--state-running"}) == "web1\ndb1\n");
  vmferry({"suspend", "db1"});
  CHECK(names({"--state-running"}) == "web1\n");
  CHECK(names({"--state-paused"}) == "db1\n");
  CHECK(names({"--state-paused", "--state-shutoff"}) == "db1\nidle1\n");
  CHECK(names({"--state-other", "--all"}).empty());
  CHECK(names({"--all", "--persistent"}) == "web1\ndb1\nidle1\n");
  CHECK(names({"--all", "--transient"}).empty());
  CHECK(names({"--all", "--autostart"}).empty());
  CHECK(names({"--all", "--no-autostart"}) == "web1\ndb1\nidle1\n");
  CHECK(names({"--all", "--with-snapshot"}).empty());
  CHECK(names({"--all", "--without-snapshot", "--without-checkpoint", "--without-managed-save"}) ==
        "web1\ndb1\nidle1\n");
  CHECK(vmferry({"list", "--all", "--id"}) == "1\n2\n");  // an id is of an active domain
  CHECK(vmferry({"list", "--title"}).contains("Title"));
  CHECK(vmferry({"list", "--all", "--managed-save"}).contains("shut off"));
}

TEST_CASE("commands: options of virsh's that cannot be, refused with the reason") {
  Session vmferry;
  vmferry({"start", "idle1", "--console"}, Exit::usage);
  CHECK(vmferry.complained.contains("vmferry has no console"));
  vmferry({"undefine", "idle1", "--storage", "vda"}, Exit::usage);
  CHECK(vmferry.complained.contains("never deletes their disks"));
  vmferry({"shutdown", "web1", "--mode", "acpi,nonsense"}, Exit::usage);
  CHECK(vmferry.complained.contains("'nonsense' is not acpi"));
  vmferry({"shutdown", "web1", "--mode", "acpi"}, Exit::refused);  // the simulation has no choice
  CHECK(vmferry.complained.contains("cannot be chosen"));
  CHECK_FALSE(vmferry({"help", "start"}).contains("--console"));
  CHECK(vmferry({"help", "start", "-o", "json"}).contains("vmferry has no console"));
}

TEST_CASE("commands: --xpath, as virsh has it") {
  Session vmferry;
  CHECK(vmferry({"dumpxml", "web1", "--xpath", "/domain/name"}) == "<name>web1</name>\n");
  CHECK(vmferry({"dumpxml", "web1", "--xpath", "/domain/name", "--wrap"}) ==
        "<nodes>\n  <name>web1</name>\n</nodes>\n");
  CHECK(vmferry({"dumpxml", "web1", "--xpath", "//nothing"}).empty());
  CHECK(vmferry({"capabilities", "--xpath", "//host/cpu/arch"}).starts_with("<arch>"));
  CHECK(vmferry({"capabilities", "--migration", "--xml", "--xpath", "//live"}) == "<live/>\n");
  vmferry({"dumpxml", "web1", "--wrap"}, Exit::usage);
  vmferry({"dumpxml", "web1", "--xpath", "((("}, Exit::usage);
  CHECK(vmferry.complained.contains("is not an XPath expression"));
  vmferry({"dumpxml", "web1", "--xpath", "count(//disk)"}, Exit::usage);
  CHECK(vmferry.complained.contains("only nodes"));
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
  CHECK(info.contains("Managed save:   no\n"));
  CHECK(vmferry({"dumpxml", "web1"}).contains("<name>web1</name>"));
  CHECK(vmferry({"nodeinfo"}).contains("CPU model:           x86_64\n"));
  CHECK(vmferry({"hostname"}) == "default\n");
  CHECK(vmferry({"version"}).contains("Running hypervisor: TEST "));
  CHECK_FALSE(vmferry({"version"}).contains("daemon"));
  CHECK(vmferry({"version", "--daemon"}).contains("Running against daemon: "));
  CHECK(vmferry({"capabilities", "--migration"}).contains("protocol versions"));
  CHECK(vmferry({"capabilities", "--migration", "--xml"}).contains("<live/>"));
  CHECK(vmferry({"uri"}).contains("test:///"));
}

TEST_CASE("commands: a document is byte-exact in a pipe and harmless on a terminal") {
  asio::io_context io;
  SystemClock clock;
  Stop stop(io.get_executor());
  KeptSink pipe, screen;
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
  vmferry({"help", "migrat"}, Exit::usage);
  CHECK(vmferry.complained.contains("did you mean migrate?"));
  const auto json = nlohmann::json::parse(vmferry({"help", "list", "-o", "json"}));
  CHECK(json["options"].size() > 5);
}

TEST_CASE("commands: --trust-host leaves the refusal to the host, and says so") {
  Session vmferry;
  vmferry({"-c", "test:///default?rules=vz-2015", "migrate", "web1", "test:///other?rules=vz-2015",
           "--unsafe", "--trust-host"},
          Exit::failed);
  CHECK(vmferry.complained.contains("--unsafe is refused: its disks are always cache=none"));
  CHECK(vmferry.complained.contains("--trust-host: what the rules say of it was not looked at"));
  CHECK_FALSE(vmferry.complained.contains("had not predicted"));
}

TEST_CASE("commands: plan lists every objection, those of the command line and of the driver") {
  Session vmferry;
  const std::vector<std::string> wrong = {"web1",   "test:///other", "--tunnelled",
                                          "--live", "--offline",     "--timeout-abort"};
  for (const char* command : {"plan", "migrate"}) {
    std::vector<std::string> words = {command};
    words.insert(words.end(), wrong.begin(), wrong.end());
    if (words.front() == "migrate") words.emplace_back("--dry-run");
    const std::string text = vmferry(words, Exit::refused);
    CHECK(text.contains("refused, 4 objections:"));
    CHECK(text.contains("--live and --offline exclude each other"));
    CHECK(text.contains("--tunnelled needs --p2p"));
    CHECK(text.contains("--timeout-abort needs --timeout"));
  }
  std::vector<std::string> real = wrong;
  real.insert(real.begin(), "migrate");
  vmferry(real, Exit::usage);  // nothing is contacted
  CHECK(vmferry.complained.contains("--timeout-abort needs --timeout"));
  vmferry({"plan", "web1", "test:///absent", "--tunnelled"}, Exit::usage);
  CHECK(vmferry.complained.contains("--tunnelled needs --p2p"));
  CHECK(vmferry.complained.contains("the hosts were not asked: "));
}

TEST_CASE("commands: completion asks the host, and is silent when it cannot") {
  Session vmferry;
  const std::string all = vmferry({"complete", "--", "domstate", ""});
  CHECK(all.contains("web1\trunning\n"));
  CHECK(all.contains("idle1\tshut off\n"));
  CHECK(vmferry({"complete", "--", "start", ""}) == "idle1\tshut off\n");
  CHECK_FALSE(vmferry({"complete", "--", "migrate", ""}).contains("idle1"));
  CHECK(vmferry({"complete", "--", "migrate", "--offline", ""}).contains("idle1"));
  vmferry({"complete", "--", "-c", "test:///absent", "domstate", ""}, Exit::connect);
  CHECK(vmferry.complained.empty());
}
