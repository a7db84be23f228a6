// With real QEMU processes, under software emulation: a BIOS that finds nothing to boot.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/core/drivers/qmp/bare_guest.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

TEST_CASE("qmp upgrade, real QEMU: the memory is handed over, name and UUID stay") {
  if (!qemu_is_here()) return;
  Bare bare;
  const std::int32_t before = bare.own().active(bare.domain).process.pid;
  for (int hop = 0; hop < 3; ++hop) {
    const UpgradeReport report = run(bare.io, upgrade(*bare.host, bare.domain, {}));
    CHECK(report.handed_over);
    CHECK(report.domain.uuid == bare.domain.uuid);
    CHECK(report.domain.name == "g");
    CHECK(report.domain.id != before);
    CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
    CHECK(bare.own().store().instances().size() == 1);
  }
}

TEST_CASE("qmp upgrade, real QEMU: the new process killed at each step leaves the guest running") {
  if (!qemu_is_here()) return;
  for (const std::string_view where : {"launched", "compared", "ready", "copied", "starting"}) {
    INFO(where);
    Bare bare;
    const std::int32_t before = bare.own().active(bare.domain).process.pid;
    UpgradeOptions options;
    options.on_step = [&](std::string_view step, std::int32_t pid) {
      if (step == where) ::kill(pid, SIGKILL);
    };
    const auto moved = run(bare.io, settle(upgrade(*bare.host, bare.domain, options)));
    REQUIRE_FALSE(moved);
    CHECK(moved.error().exit() != Exit::unknown);
    CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
    REQUIRE(bare.own().store().instances().size() == 1);
    CHECK(bare.own().store().instances()[0].process.pid == before);
    CHECK(bare.own().store().instances()[0].stage == Stage::active);
    CHECK(run(bare.io, upgrade(*bare.host, bare.domain, {})).handed_over);  // the next one works
  }
}

TEST_CASE("qmp upgrade, real QEMU: once the new process ran, the old one is never resumed") {
  if (!qemu_is_here()) return;
  for (const bool copied : {false, true}) {
    CAPTURE(copied);
    Bare bare(copied ? "-object memory-backend-ram,id=r,size=16M -machine memory-backend=r" : "");
    const std::int32_t before = bare.own().active(bare.domain).process.pid;
    UpgradeOptions options;
    options.on_step = [&](std::string_view step, std::int32_t pid) {
      if (step != "running") return;
      ::kill(pid, SIGKILL);
      ::usleep(20'000);         // the watch is over by then, and what came meanwhile is read
      bare.clock.factor = 100;  // a busy machine may take its time to end it
    };
    const auto moved = run(bare.io, settle(upgrade(*bare.host, bare.domain, options)));
    REQUIRE_FALSE(moved);
    CHECK(moved.error().exit() == Exit::unknown);
    CHECK_FALSE(run(bare.io, bare.host->status(bare.domain)).runs());
    // Memory that was handed over is of no use to the old one; a copied one's is as it was.
    const std::vector<Instance> left = bare.own().store().instances();
    REQUIRE(left.size() == (copied ? 1 : 0));
    if (copied) CHECK(left[0].process.pid == before);
    CHECK(moved.error().message.contains(copied ? "is stopped and kept" : "was ended"));
    if (!copied) CHECK_FALSE(run(bare.io, settle(bare.host->resume(bare.domain))));
  }
}

TEST_CASE("qmp upgrade, real QEMU: a rehearsal changes nothing, and the guest moves after it") {
  if (!qemu_is_here()) return;
  Bare bare;
  UpgradeOptions options{.dry_run = true, .rehearse = true};
  const std::int32_t before = bare.own().active(bare.domain).process.pid;
  const UpgradeReport rehearsed = run(bare.io, upgrade(*bare.host, bare.domain, options));
  CHECK(rehearsed.rehearsal_pause.count() > 0);
  CHECK(bare.own().active(bare.domain).process.pid == before);
  CHECK(bare.own().active(bare.domain).stage == Stage::active);
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  options.dry_run = false;
  CHECK(run(bare.io, upgrade(*bare.host, bare.domain, options)).handed_over);
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  CHECK(bare.own().store().instances().size() == 1);
}

TEST_CASE("qmp upgrade, real QEMU: a process that dies in the rehearsal leaves the guest running") {
  if (!qemu_is_here()) return;
  for (const std::string_view where : {"launched", "compared", "ready", "copied"}) {
    INFO(where);
    Bare bare;
    const std::int32_t before = bare.own().active(bare.domain).process.pid;
    bool killed = false;
    UpgradeOptions options{.rehearse = true};
    options.on_step = [&](std::string_view step, std::int32_t pid) {
      if (step == where && !std::exchange(killed, true)) ::kill(pid, SIGKILL);
    };
    CHECK_FALSE(run(bare.io, settle(upgrade(*bare.host, bare.domain, options))));
    CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
    REQUIRE(bare.own().store().instances().size() == 1);
    CHECK(bare.own().store().instances()[0].process.pid == before);
  }
}

TEST_CASE("qmp upgrade, real QEMU: a copy whose memory may have been changed is never resumed") {
  if (!qemu_is_here()) return;
  Bare bare;
  run(bare.io, bare.host->suspend(bare.domain));
  Instance i = bare.own().active(bare.domain);
  i.stage = Stage::handed_over;
  bare.own().store().save(i);
  const auto resumed = run(bare.io, settle(bare.host->resume(bare.domain)));
  REQUIRE_FALSE(resumed);
  CHECK(resumed.error().id == ErrorId::invalid_state);
  CHECK_FALSE(run(bare.io, settle(upgrade(*bare.host, bare.domain, {}))));
  CHECK_FALSE(run(bare.io, bare.host->status(bare.domain)).runs());
}

TEST_CASE(
    "qmp cleanup, real QEMU: an incoming process that never ran is ended, its guest goes on") {
  if (!qemu_is_here()) return;
  Bare bare;
  const Instance source = bare.own().active(bare.domain);
  const std::string migration = to_string(random_uuid());
  NewProcess process{.name = "g", .uuid = source.uuid, .xml = source.xml, .argv = source.argv};
  process.stage = Stage::incoming;
  process.migration = migration;
  bare.own().store().expect(migration, Outlives::program);
  const Instance incoming = run(bare.io, bare.own().launch(std::move(process), true));
  run(bare.io, bare.host->suspend(bare.domain));
  Instance stopped = source;
  stopped.stage = Stage::handed_over;
  stopped.held = true;
  bare.own().store().save(stopped);
  CHECK(run(bare.io, clean_up(*bare.host, true)).size() == 1);
  CHECK(alive(incoming.process));
  const auto left = run(bare.io, clean_up(*bare.host, false));
  REQUIRE(left.size() == 1);
  CHECK(left[0].removed);
  CHECK_FALSE(alive(incoming.process));
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  CHECK_THROWS_AS(bare.own().store().starting(migration, Outlives::program), Error);
}
