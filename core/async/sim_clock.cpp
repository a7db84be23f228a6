#include "core/async/sim_clock.hpp"

#include <algorithm>

#include <asio/error.hpp>
#include <asio/experimental/as_tuple.hpp>

namespace vmferry {

Task<> SimClock::sleep(Micros duration) {
  const auto ex = co_await asio::this_coro::executor;
  Sleeper me{asio::steady_timer(ex, asio::steady_timer::time_point::max())};
  const auto place = sleepers_.emplace(now_ + std::max(duration, Micros::zero()), &me);
  // Waking is a cancel of the timer; a cancellation from outside looks the same but for `woken`.
  co_await me.timer.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
  if (me.woken) co_return;
  sleepers_.erase(place);
  throw std::system_error(std::error_code(asio::error::operation_aborted));
}

void SimClock::settle() {
  do {
    io_.restart();
  } while (io_.poll() != 0);
}

bool SimClock::jump() {
  if (sleepers_.empty()) return false;
  const auto first = sleepers_.begin();
  now_ = first->first;
  Sleeper* const sleeper = first->second;
  sleepers_.erase(first);
  sleeper->woken = true;
  sleeper->timer.cancel();
  return true;
}

void SimClock::run(Task<> task) {
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(io_, std::move(task), [&](std::exception_ptr e) {
    failure = e;
    done = true;
  });
  settle();
  while (!done) {
    if (!jump()) stuck();
    settle();
  }
  if (failure) std::rethrow_exception(failure);
}

void SimClock::pass(Micros duration) { run(sleep(duration)); }

void SimClock::stuck() {
  throw Error(ErrorId::internal, "everything waits, and nobody sleeps: this would wait for ever");
}

}  // namespace vmferry
