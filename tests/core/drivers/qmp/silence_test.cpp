// A QEMU that does not say what it should, on a monitor that is meddled with: every wait for it
// ends.
#include <doctest/doctest.h>
#include <signal.h>

#include <array>
#include <cstring>

#include "core/async/race.hpp"
#include "tests/core/drivers/qmp/bare_guest.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

// Takes what it is told, and says nothing.
class Silent final : public Between {
 public:
  Silent(std::unique_ptr<Stream> under, Clock& clock) : Between(std::move(under)), clock_(clock) {}
  Task<std::size_t> read_some(std::span<std::byte>) override {
    co_await clock_.sleep(std::chrono::hours(1));
    co_return 0;
  }

 private:
  Clock& clock_;
};

// QEMU's lines with one word in the place of others.
class Reworded final : public Between {
 public:
  Reworded(std::unique_ptr<Stream> under, std::vector<std::string> words, std::string other)
      : Between(std::move(under)), words_(std::move(words)), other_(std::move(other)) {}
  Task<std::size_t> read_some(std::span<std::byte> into) override {
    while (whole_lines() == 0) {
      std::array<std::byte, 4096> chunk;
      const std::size_t got = co_await under_->read_some(chunk);
      if (got == 0) co_return 0;
      text_.append(reinterpret_cast<const char*>(chunk.data()), got);
      for (const std::string& word : words_)
        for (std::size_t at = 0; (at = text_.find(word, at)) != std::string::npos;)
          text_.replace(at, word.size(), other_);
    }
    const std::size_t size = std::min(whole_lines(), into.size());
    std::memcpy(into.data(), text_.data(), size);
    text_.erase(0, size);
    co_return size;
  }

 private:
  std::size_t whole_lines() const { return text_.rfind('\n') + 1; }
  std::vector<std::string> words_;
  std::string other_, text_;
};

// Ready to perform, with every later monitor of the source reworded.
struct Ready {
  std::unique_ptr<Host> there;
  PhaseCall call;
  Cookie cookie;

  Ready(Bare& bare, std::vector<std::string> words, std::string other) : there(bare.open("b")) {
    bare.between = [=](std::unique_ptr<Stream> under) -> std::unique_ptr<Stream> {
      return std::make_unique<Reworded>(std::move(under), words, other);
    };
    bare.host = bare.open("a");
    call = {.domain = bare.domain, .flags = {Flag::live, Flag::persist_dest}};
    const Begun begun = run(bare.io, bare.host->begin(call));
    bare.between = nullptr;
    call.params.set("destination_xml", begun.xml);
    const Prepared prepared = run(bare.io, there->prepare(call, begun.cookie));
    call.params.set("migrate_uri", *prepared.uri);
    cookie = prepared.cookie;
  }
};

Task<Result<>> abort_soon(Bare& bare) {
  co_await bare.clock.sleep(Millis(300));
  Task<> aborting = bare.host->abort_job(bare.domain, false);
  co_return co_await settle(std::move(aborting));
}

}  // namespace

TEST_CASE("qmp silence, real QEMU: a monitor that does not greet is left for the next") {
  if (!qemu_is_here()) return;
  Bare bare;
  int dialled = 0;
  bare.between = [&](std::unique_ptr<Stream> under) -> std::unique_ptr<Stream> {
    if (dialled++ > 0) return under;
    return std::make_unique<Silent>(std::move(under), bare.clock);
  };
  bare.host = bare.open("a");
  const Micros began = bare.clock.now();
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  CHECK(dialled == 2);
  CHECK(bare.clock.now() - began < std::chrono::seconds(30));
}

TEST_CASE("qmp silence, real QEMU: two who open a monitor at once get the same one") {
  if (!qemu_is_here()) return;
  Bare bare;
  bare.host = bare.open("a");
  const Instance i = bare.own().active(bare.domain);
  const auto [one, two] = run(bare.io, both(bare.own().monitor(i), bare.own().monitor(i)));
  CHECK(one == two);
  // Each lock that is free is that of a monitor that answers.
  std::vector<std::unique_ptr<Host>> others;
  for (std::size_t n = 1; n < i.monitors.size(); ++n) {
    others.push_back(bare.open("a"));
    CHECK(run(bare.io, others.back()->status(bare.domain)).runs());
  }
}

TEST_CASE("qmp silence, real QEMU: the end of a copy that is not told is asked for") {
  if (!qemu_is_here()) return;
  Bare bare;
  Ready ready(bare, {R"("event": "MIGRATION")"}, R"("event": "SOMETHING")");
  const auto performed =
      run(bare.io, settle(bare.host->perform(ready.call, ready.cookie, std::nullopt)));
  REQUIRE(performed);
  const Finished done =
      run(bare.io, ready.there->finish(ready.call, *performed, Verdict::completed));
  REQUIRE(done.domain);
  run(bare.io, bare.host->confirm(ready.call, {}, Verdict::completed));
  CHECK(run(bare.io, ready.there->status(*done.domain)).runs());
}

TEST_CASE("qmp silence, real QEMU: a cancellation without an end is given up, the guest goes on") {
  if (!qemu_is_here()) return;
  Bare bare("-object memory-backend-ram,id=r,size=16M -machine memory-backend=r");
  Ready ready(bare, {R"("cancelled")", R"("failed")"}, R"("cancelling")");
  ::kill(as_qmp(*ready.there).store().instances().at(0).process.pid, SIGSTOP);
  const auto [performed, aborted] = run(
      bare.io,
      both(settle(bare.host->perform(ready.call, ready.cookie, std::nullopt)), abort_soon(bare)));
  REQUIRE_FALSE(aborted);
  CHECK(aborted.error().id == ErrorId::timed_out);
  REQUIRE_FALSE(performed);
  CHECK(performed.error().id == ErrorId::cancelled);
  CHECK(performed.error().message.contains("shut down and started again"));
  CHECK(run(bare.io, bare.host->status(bare.domain)).runs());
  const auto again = run(bare.io, settle(bare.host->begin(ready.call)));
  REQUIRE_FALSE(again);
  CHECK(again.error().id == ErrorId::blocked);
}
