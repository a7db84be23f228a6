#include "core/async/sim_clock.hpp"

#include <doctest/doctest.h>

#include "core/async/race.hpp"
#include "core/async/signal.hpp"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

Task<> note(Clock& clock, Micros after, std::vector<int>& order, int who) {
  co_await clock.sleep(after);
  order.push_back(who);
}
Task<bool> flagged(Task<> body) {
  co_await std::move(body);
  co_return true;
}
Task<> three(Clock& clock, std::vector<int>& order) {
  Task<bool> a = flagged(note(clock, 3h, order, 1));
  Task<bool> b = flagged(note(clock, 1h, order, 2));
  co_await both(std::move(a), std::move(b));
  co_await note(clock, 0s, order, 3);
}

TEST_CASE("sim clock: sleepers wake by time, and hours take no time") {
  asio::io_context io;
  SimClock clock(io);
  std::vector<int> order;
  clock.run(three(clock, order));
  CHECK(order == std::vector{2, 1, 3});
  CHECK(clock.now() == 3h);
}

Task<> limited(Clock& clock, std::vector<int>& order) {
  co_await with_deadline(clock, 5s, "a late note", note(clock, 9s, order, 1));
}

TEST_CASE("sim clock: a sleeper that is cancelled does not come back") {
  asio::io_context io;
  SimClock clock(io);
  std::vector<int> order;
  CHECK_THROWS_AS(clock.run(limited(clock, order)), Error);
  CHECK(clock.now() == 5s);
  CHECK(order.empty());
  CHECK_FALSE(clock.jump());
}

Task<> wait_for_nobody(Executor ex) {
  Stop stop(ex);
  co_await stop.wait();
}

TEST_CASE("sim clock: waiting for nothing is found out") {
  asio::io_context io;
  SimClock clock(io);
  CHECK_THROWS_AS(clock.run(wait_for_nobody(io.get_executor())), Error);
}

}  // namespace
}  // namespace vmferry
