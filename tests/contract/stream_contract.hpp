#pragma once
// What every Stream promises, whatever carries it.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/race.hpp"
#include "core/async/stream.hpp"

namespace vmferry {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline Task<std::string> read_text(Stream& stream, std::size_t size) {
  std::string text(size, '\0');
  co_await read_exactly(stream, std::as_writable_bytes(std::span(text.data(), text.size())));
  co_return text;
}

inline Task<bool> write_flag(Stream& stream, std::span<const std::byte> data) {
  co_await stream.write_all(data);
  co_return true;
}

inline Task<Result<std::size_t>> settled_read(Stream& stream, std::span<std::byte> into) {
  Task<std::size_t> body = stream.read_some(into);
  co_return co_await settle(std::move(body));
}

inline Task<bool> close_soon(Clock& clock, Stream& stream) {
  co_await clock.sleep(Millis(20));
  stream.close();
  co_return true;
}

/// Over a stream whose other end sends back what it gets, and closes when it reads an end.
inline Task<> stream_contract(Stream& stream) {
  SystemClock clock;
  const std::string small = "hello";
  co_await stream.write_all(bytes_of(small));
  const std::string back = co_await read_text(stream, small.size());
  CHECK(back == small);

  // More than any buffer holds, both ways at once.
  std::string big(3 << 20, '\0');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + i / 251);
  Task<bool> writing = write_flag(stream, bytes_of(big));
  Task<std::string> reading = read_text(stream, big.size());
  const auto both_ways = co_await both(std::move(writing), std::move(reading));
  CHECK(both_ways.second == big);

  co_await stream.finish_writing();
  std::byte one{};
  const std::size_t end = co_await stream.read_some({&one, 1});
  CHECK(end == 0);
}

/// close() wakes a reader that waits, with connect_lost.
inline Task<> stream_close_contract(Stream& stream) {
  SystemClock clock;
  std::byte one{};
  Task<Result<std::size_t>> reading = settled_read(stream, {&one, 1});
  Task<bool> closing = close_soon(clock, stream);
  const auto done = co_await both(std::move(reading), std::move(closing));
  REQUIRE_FALSE(done.first.has_value());
  CHECK(done.first.error().id == ErrorId::connect_lost);
  const auto after = co_await settle(stream.write_all({&one, 1}));
  CHECK_FALSE(after.has_value());
}

}  // namespace vmferry
