// The moment at which a guest changes hands, with real QEMU processes and a monitor that is meddled
// with.
#include "core/drivers/qmp/qmp.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include "core/async/race.hpp"
#include "tests/core/drivers/qmp/bare_guest.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// QEMU hangs when it is told to let the guest run, or hears nothing of it any more.
class HangsAtCont final : public Between {
 public:
  HangsAtCont(std::unique_ptr<Stream> under, Bare& bare, const std::int32_t& pid)
      : Between(std::move(under)), bare_(bare), pid_(pid) {}
  Task<> write_all(std::span<const std::byte> from) override {
    if (pid_ > 0 && text_of(from).contains("\"cont\"")) {
      ::kill(pid_, SIGSTOP);
      bare_.clock.factor = 0.02;
      bare_.clock.from = std::chrono::seconds(1);
    }
    return under_->write_all(from);
  }

 private:
  Bare& bare_;
  const std::int32_t& pid_;
};

bool stands_still(std::int32_t pid) {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid)).value_or("");
  return stat.find(") T ") != std::string::npos;
}

// What QEMU said of its guest's run comes only when somebody has stopped it, as one who looks for
// its last words does.
class SaysItLate final : public Between {
 public:
  SaysItLate(std::unique_ptr<Stream> under, Bare& bare, const std::int32_t& pid)
      : Between(std::move(under)), bare_(bare), pid_(pid) {}
  Task<std::size_t> read_some(std::span<std::byte> into) override {
    if (held_.empty()) {
      const std::size_t got = co_await under_->read_some(into);
      const std::string_view text = text_of(into.first(got));
      if (!text.contains("\"RESUME\"")) co_return got;
      held_ = text;
      bare_.clock.factor = 0.02;
      bare_.clock.from = std::chrono::seconds(1);
    }
    while (!stands_still(pid_)) co_await bare_.clock.sleep(Millis(1));
    const std::size_t size = std::min(held_.size(), into.size());
    std::memcpy(into.data(), held_.data(), size);
    held_.erase(0, size);
    co_return size;
  }

 private:
  Bare& bare_;
  const std::int32_t& pid_;
  std::string held_;
};

template <class Way>
Result<UpgradeReport> upgrade_through(Bare& bare, std::int32_t& started) {
  std::int32_t pid = -1;
  bare.between = [&](std::unique_ptr<Stream> under) -> std::unique_ptr<Stream> {
    return std::make_unique<Way>(std::move(under), bare, pid);
  };
  UpgradeOptions options;
  options.on_step = [&](std::string_view step, std::int32_t now) {
    if (step == "starting") started = pid = now;
  };
  return run(bare.io, settle(upgrade(*bare.host, bare.domain, options)));
}

}  // namespace

TEST_CASE(
    "qmp switch, real QEMU: a process that hangs when told to run is ended; the old goes on") {
  if (!qemu_is_here()) return;
  Bare bare;
  const std::int32_t before = bare.own().active(bare.domain).process.pid;
  std::int32_t hung = -1;
  const auto moved = upgrade_through<HangsAtCont>(bare, hung);
  REQUIRE_FALSE(moved);
  CHECK(moved.error().id == ErrorId::timed_out);
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  const std::vector<Instance> left = bare.own().store().instances();
  REQUIRE(left.size() == 1);
  CHECK(left[0].process.pid == before);
  CHECK(left[0].stage == Stage::active);
  CHECK(process_now(hung).start == 0);
}

TEST_CASE("qmp switch, real QEMU: one that runs the guest after all is not ended") {
  if (!qemu_is_here()) return;
  Bare bare;
  std::int32_t late = -1;
  const auto moved = upgrade_through<SaysItLate>(bare, late);
  REQUIRE(moved);
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  CHECK(bare.own().active(bare.domain).process.pid == late);
  CHECK_FALSE(stands_still(late));
}

namespace {

// The source's QEMU is killed once the destination has everything, and before it can say so: of
// what it said, nothing after STOP is heard, but for what a test adds.
class DiesAfterStop final : public Between {
 public:
  DiesAfterStop(std::unique_ptr<Stream> under, Host& destination, std::int32_t source,
                std::string last_words)
      : Between(std::move(under)),
        there_(as_qmp(destination)),
        source_(source),
        last_words_(std::move(last_words)) {}

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    if (over_) co_return 0;
    const std::size_t got = co_await under_->read_some(into);
    const std::string_view text = text_of(into.first(got));
    const std::size_t stop = text.find("\"STOP\"");
    if (stop == std::string_view::npos) co_return got;
    over_ = true;
    co_await arrival();
    ::kill(source_, SIGKILL);
    const std::size_t kept = text.find('\n', stop) + 1;
    std::memcpy(into.data() + kept, last_words_.data(), last_words_.size());
    co_return kept + last_words_.size();
  }

 private:
  Task<> arrival() {
    for (const Instance& i : there_.store().instances()) {
      std::shared_ptr<Client> client = co_await there_.monitor(i);
      std::string status;
      while (status != "completed") {
        const Json info = co_await client->execute("query-migrate");
        status = text_at(info, "status");
      }
    }
  }

  QmpHost& there_;
  std::int32_t source_;
  std::string last_words_;
  bool over_ = false;
};

// Begin to perform, from a source that dies.
Result<Cookie> performed(Bare& bare, Host& there, PhaseCall& call, const std::string& last_words) {
  const std::int32_t source = bare.own().active(bare.domain).process.pid;
  bare.between = [&, source](std::unique_ptr<Stream> under) -> std::unique_ptr<Stream> {
    return std::make_unique<DiesAfterStop>(std::move(under), there, source, last_words);
  };
  bare.host = bare.open("a");
  call = {.domain = bare.domain, .flags = {Flag::live, Flag::persist_dest}};
  const Begun begun = run(bare.io, bare.host->begin(call));
  bare.between = nullptr;
  call.params.set("destination_xml", begun.xml);
  const Prepared ready = run(bare.io, there.prepare(call, begun.cookie));
  call.params.set("migrate_uri", *ready.uri);
  return run(bare.io, settle(bare.host->perform(call, ready.cookie, std::nullopt)));
}

}  // namespace

TEST_CASE("qmp switch, real QEMU: a source killed when all was sent: the destination has it") {
  if (!qemu_is_here()) return;
  Bare bare;
  const std::unique_ptr<Host> there = bare.open("b");
  PhaseCall call;
  const auto cookie = performed(bare, *there, call, "");
  REQUIRE(cookie);
  const Finished done = run(bare.io, there->finish(call, *cookie, Verdict::completed));
  REQUIRE(done.domain);
  run(bare.io, bare.host->confirm(call, {}, Verdict::completed));
  CHECK(run(bare.io, there->status(*done.domain)).runs());
  CHECK(bare.own().store().instances().empty());
}

TEST_CASE("qmp switch, real QEMU: a source that had let its guest go on takes it along") {
  if (!qemu_is_here()) return;
  Bare bare;
  const std::unique_ptr<Host> there = bare.open("b");
  PhaseCall call;
  const auto cookie = performed(
      bare, *there, call,
      "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 1}, \"event\": \"RESUME\"}\r\n");
  REQUIRE_FALSE(cookie);
  CHECK(cookie.error().id == ErrorId::hypervisor_died);
  run(bare.io, there->finish(call, {}, Verdict::cancelled));
  CHECK(as_qmp(*there).store().instances().empty());
}

TEST_CASE("qmp cleanup, real QEMU: a process that was told to run becomes the domain, names too") {
  if (!qemu_is_here()) return;
  Bare bare("-chardev null,id=c -serial chardev:c");
  const std::string name = bare.dir + "/socket", log = bare.dir + "/serial";
  const Fd listener = listen_unix(name + ".new");
  Instance i = bare.own().active(bare.domain);
  i.stage = Stage::incoming;
  i.migration = to_string(random_uuid());
  i.pid_file = bare.dir + "/pid";
  i.renames = {{name + ".new", name}};
  Json file = {{"type", "file"}, {"data", {{"out", log}}}};
  i.afterwards = {{"chardev-change", {{"id", "c"}, {"backend", std::move(file)}}}};
  bare.own().store().save(i);
  bare.own().store().expect(i.migration, Outlives::program);
  bare.own().store().starting(i.migration, Outlives::program);
  const auto settled = run(bare.io, clean_up(*bare.host, false));
  REQUIRE(settled.size() == 1);
  CHECK(settled[0].removed);
  INFO(settled[0].what);
  CHECK_FALSE(settled[0].what.contains(";"));
  const Instance now = bare.own().active(bare.domain);
  CHECK(now.stage == Stage::active);
  CHECK(now.renames.empty());
  struct stat info{};
  CHECK(::stat(name.c_str(), &info) == 0);
  CHECK(::stat((name + ".new").c_str(), &info) != 0);
  CHECK(::stat(log.c_str(), &info) == 0);
  CHECK(read_file(i.pid_file) == fmt::format("{}\n", i.process.pid));
}

TEST_CASE("qmp events, real QEMU: of every domain, also of one that comes up later") {
  if (!qemu_is_here()) return;
  Bare bare;
  std::vector<std::string> told;
  const auto subscribed = run(bare.io, bare.host->subscribe({}, [&](const DomainEvent& e) {
    if (e.kind == DomainEvent::Kind::lifecycle)
      told.push_back(fmt::format("{} {}", e.domain.name, e.event));
  }));
  run(bare.io, bare.host->suspend(bare.domain));
  const std::string xml = value_or_throw(
      qmp_domain_xml("/usr/bin/qemu-system-x86_64 -M pc -accel tcg -m 16M -nodefaults "
                     "-no-user-config -display none -name later",
                     ""));
  const DomainRef later = run(bare.io, bare.host->define(xml, DefineFlags::none));
  run(bare.io, bare.host->start(later, 0));
  for (int tries = 0; tries < 1000 && told.size() < 2; ++tries)
    run(bare.io, bare.clock.sleep(Millis(5)));
  CHECK(told == std::vector<std::string>{fmt::format("g {}", kEventSuspended),
                                         fmt::format("later {}", kEventResumed)});
}
