#include "core/async/clock.hpp"

#include <asio/steady_timer.hpp>

namespace vmferry {

Micros SystemClock::now() const {
  return std::chrono::duration_cast<Micros>(std::chrono::steady_clock::now().time_since_epoch());
}

Task<> SystemClock::sleep(Micros duration) {
  const auto ex = co_await asio::this_coro::executor;
  asio::steady_timer timer(ex, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace vmferry
