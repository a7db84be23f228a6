#include <doctest/doctest.h>
#include <asio/io_context.hpp>

#include <array>
#include <cstring>

#include "core/async/race.hpp"
#include "core/async/stream.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;

static Task<> write_text(Stream& s, std::string_view text) {
  co_await s.write_all(std::as_bytes(std::span(text)));
  co_await s.finish_writing();
}

TEST_CASE("pipe: what goes in comes out, however it is split") {
  asio::io_context io;
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{3}, SIZE_MAX}) {
    PipeEnds ends = make_pipe(io.get_executor(), chunk);
    run(io, write_text(*ends.a, "hello"));
    std::array<std::byte, 5> got{};
    run(io, read_exactly(*ends.b, got));
    CHECK(std::memcmp(got.data(), "hello", 5) == 0);
    CHECK(run(io, ends.b->read_some(got)) == 0);
  }
}

TEST_CASE("pipe: an early end is a lost connection") {
  asio::io_context io;
  PipeEnds ends = make_pipe(io.get_executor());
  ends.a->close();
  std::array<std::byte, 5> got{};
  const auto result = run(io, settle(read_exactly(*ends.b, got)));
  REQUIRE_FALSE(result);
  CHECK(result.error().id == ErrorId::connect_lost);
}

static Task<int> number(Clock& clock, Micros after, int n) {
  co_await clock.sleep(after);
  co_return n;
}

TEST_CASE("within: the body's value, or nothing after the limit") {
  asio::io_context io;
  SystemClock clock;
  CHECK(run(io, within(clock, Millis(1000), number(clock, Millis(0), 7))) == 7);
  CHECK_FALSE(run(io, within(clock, Millis(1), number(clock, Millis(60000), 7))));
}
