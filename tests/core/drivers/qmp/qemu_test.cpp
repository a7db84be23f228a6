// The qmp driver over a real QEMU, under software emulation and without privileges. Skipped where
// none is installed.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <fstream>
#include <iterator>
#include <vector>

#include "core/async/race.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/drivers/qmp/store.hpp"
#include "tests/core/drivers/qmp/boot_sector.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/unix.hpp"

using namespace vmferry;

namespace {

constexpr const char* kQemu = "/usr/bin/qemu-system-x86_64";

// Two "hosts" in one directory, and a guest that counts on its serial port.
struct World {
  TempDir dir;
  asio::io_context io;
  SystemClock clock;
  std::unique_ptr<Host> a = open("a"), b = open("b");
  std::string image = dir.write("boot.img", boot_sector());

  ~World() {
    for (const char* name : {"a", "b"})
      for (const qmp::Instance& i : store(name).instances()) kill(i);
  }
  void kill(const qmp::Instance& i) { run(io, qmp::kill_and_wait(i.process, clock)); }
  std::string uri(const std::string& name) const { return "qmp:///session?dir=" + dir / name; }
  std::unique_ptr<Host> open(const std::string& name) {
    QmpEnvironment around{.clock = clock, .dial = [this](std::string path) {
                            return connect_unix(clock, std::move(path));
                          }};
    return run(io, open_qmp(uri(name), std::move(around)));
  }
  qmp::Store store(const std::string& name) const {
    const ConnectUri parsed = *parse_connect_uri(uri(name));
    return qmp::Store(*qmp::places_of(parsed, process_environment));
  }
  DomainRef start(const std::string& memory = "") {
    const std::string xml = fmt::format(
        "<domain type='qemu'><name>web</name><memory unit='MiB'>32</memory>{}<vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>{}</emulator>"
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>"
        "<target dev='vda' bus='virtio'/><readonly/></disk>"
        "<serial type='file'><source path='{}' append='on'/></serial></devices></domain>",
        memory, kQemu, image, dir / "serial");
    const DomainRef made = run(io, a->define(xml, DefineFlags::none));
    run(io, a->start(made, 0));
    await_counts(3);
    return run(io, a->find("web"));
  }
  // What the guest wrote: the firmware's text before it is skipped.
  std::vector<unsigned long> counts() const {
    std::ifstream file(dir / "serial");
    std::vector<unsigned long> out;
    for (std::string line; std::getline(file, line) && !file.eof();)
      if (line.size() == 8) out.push_back(std::strtoul(line.c_str(), nullptr, 16));
    return out;
  }
  void await_counts(std::size_t more) {
    const std::size_t goal = counts().size() + more;
    for (int tries = 0; tries < 600 && counts().size() < goal; ++tries)
      run(io, clock.sleep(Millis(50)));
    REQUIRE(counts().size() >= goal);
  }
  void check_contiguous() const {
    const std::vector<unsigned long> all = counts();
    for (std::size_t i = 1; i < all.size(); ++i) CHECK(all[i] == all[i - 1] + 1);
  }
  DomainState state(const std::unique_ptr<Host>& host, const DomainRef& d) {
    return run(io, host->status(d)).state;
  }
  bool absent(const std::unique_ptr<Host>& host, const DomainRef& d) {
    const auto status = run(io, settle(host->status(d)));
    return !status && status.error().id == ErrorId::no_domain;
  }
};

bool no_qemu() {
  if (::access(kQemu, X_OK) == 0) return false;
  MESSAGE("no QEMU here: skipped");
  return true;
}

UpgradeOptions with(std::string emulator, bool dry_run) {
  UpgradeOptions options;
  options.emulator = std::move(emulator);
  options.dry_run = dry_run;
  return options;
}

// Begin to perform, as an engine does it. `cookie`: that of begin, or of prepare before perform.
PhaseCall moved(World& w, const DomainRef& d, Cookie& cookie, bool perform = true) {
  PhaseCall call{.domain = d, .flags = {Flag::live, Flag::persist_dest, Flag::undefine_source}};
  const Begun begun = run(w.io, w.a->begin(call));
  call.params.set("destination_xml", begun.xml);
  const Prepared ready = run(w.io, w.b->prepare(call, begun.cookie));
  REQUIRE(ready.uri);
  call.params.set("migrate_uri", *ready.uri);
  cookie = perform ? begun.cookie : ready.cookie;
  if (perform) run(w.io, w.a->perform(call, ready.cookie, std::nullopt));
  return call;
}

}  // namespace

TEST_CASE("qmp driver: a guest starts, pauses, goes on, and ends; the tool keeps no process") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  w.a = w.open("a");  // what is known survives the tool
  CHECK(run(w.io, w.a->find(std::to_string(d.id))) == d);
  CHECK(w.state(w.a, d) == DomainState::running);
  run(w.io, w.a->suspend(d));
  CHECK(w.state(w.a, d) == DomainState::paused);
  run(w.io, w.a->resume(d));
  w.await_counts(2);
  CHECK_FALSE(run(w.io, settle(w.a->start(d, 0))));
  run(w.io, w.a->destroy(d, 0));
  CHECK(w.state(w.a, d) == DomainState::shutoff);
  CHECK(w.store("a").instances().empty());
}

TEST_CASE("qmp driver: a live migration in phases moves the guest, once") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  Cookie cookie;
  const PhaseCall call = moved(w, d, cookie);
  const auto premature =
      run(w.io, settle(w.open("a")->resume(d)));  // handed over: not without proof
  REQUIRE_FALSE(premature);
  CHECK(premature.error().id == ErrorId::invalid_state);
  const Finished done = run(w.io, w.b->finish(call, {}, Verdict::completed));
  REQUIRE(done.domain);
  CHECK(run(w.io, w.b->ever_started(d, cookie)) == true);
  run(w.io, w.a->confirm(call, {}, Verdict::completed));
  CHECK(w.absent(w.a, d));
  CHECK(w.state(w.b, d) == DomainState::running);
  CHECK(run(w.io, w.b->is_persistent(d)));
  w.await_counts(3);
  w.check_contiguous();
}

TEST_CASE("qmp driver: cancelled before, during and after the copy, the guest stays where it was") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  for (const bool perform : {false, true}) {
    Cookie cookie;
    const PhaseCall call = moved(w, d, cookie, perform);
    CHECK_FALSE(run(w.io, w.b->finish(call, {}, Verdict::cancelled)).domain);
    run(w.io, w.a->confirm(call, {}, Verdict::cancelled));
    CHECK(w.state(w.a, d) == DomainState::running);
    CHECK(w.absent(w.b, d));
    CHECK(w.store("b").instances().empty());
    w.await_counts(2);
  }
  w.check_contiguous();
}

TEST_CASE(
    "qmp driver: a destination that dies before or after the copy leaves the source running") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  Cookie cookie;
  PhaseCall call = moved(w, d, cookie, false);
  w.kill(w.store("b").instances().at(0));
  const auto performed = run(w.io, settle(w.a->perform(call, cookie, std::nullopt)));
  REQUIRE_FALSE(performed);
  run(w.io, w.b->finish(call, {}, Verdict::cancelled));
  CHECK(w.state(w.a, d) == DomainState::running);

  call = moved(w, d, cookie);
  w.kill(w.store("b").instances().at(0));
  const auto finished = run(w.io, settle(w.b->finish(call, {}, Verdict::completed)));
  REQUIRE_FALSE(finished);
  run(w.io, w.a->confirm(call, {}, Verdict::cancelled));
  CHECK(w.state(w.a, d) == DomainState::running);
  w.await_counts(2);
  w.check_contiguous();
}

TEST_CASE("qmp driver: upgrades hand the memory over, again and again") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  for (int round = 0; round < 3; ++round) {
    const UpgradeReport r = run(w.io, upgrade(*w.a, d, with(kQemu, false)));
    CHECK(r.handed_over);
    CHECK(r.machine.starts_with("pc-i440fx-"));
    w.await_counts(2);
    CHECK(w.store("a").instances().size() == 1);
  }
  w.check_contiguous();
  CHECK(run(w.io, w.a->find("web")).uuid == d.uuid);
}

TEST_CASE("qmp driver: private memory is copied at an upgrade") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start("<memoryBacking><access mode='private'/></memoryBacking>");
  const UpgradeReport r = run(w.io, upgrade(*w.a, d, with(kQemu, false)));
  CHECK_FALSE(r.handed_over);
  w.await_counts(2);
  w.check_contiguous();
}

TEST_CASE("qmp driver: an upgrade that cannot be leaves the guest alone") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  run(w.io, upgrade(*w.a, d, with(kQemu, true)));
  const auto wrong = run(w.io, settle(upgrade(*w.a, d, with("/bin/true", false))));
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().exit() != Exit::unknown);
  CHECK(w.state(w.a, d) == DomainState::running);
  CHECK(w.store("a").instances().size() == 1);
  w.await_counts(2);
  w.check_contiguous();
}

TEST_CASE("qmp driver: cleanup ends what came in and never ran, and nothing else") {
  if (no_qemu()) return;
  World w;
  const DomainRef d = w.start();
  Cookie cookie;
  moved(w, d, cookie, false);
  w.a = w.open("a");  // both ends of the tool are gone: locks and monitors are free again
  w.b = w.open("b");
  run(w.io, clean_up(*w.a, false));
  run(w.io, clean_up(*w.b, false));
  CHECK(w.store("b").instances().empty());
  CHECK(w.state(w.a, d) == DomainState::running);
  w.await_counts(2);
  w.check_contiguous();
}
