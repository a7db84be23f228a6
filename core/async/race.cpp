#include "core/async/race.hpp"

#include <fmt/format.h>

namespace vmferry {

Task<std::size_t> first_of(Task<> a, Task<> b) {
  const auto ex = co_await asio::this_coro::executor;
  auto group = asio::experimental::make_parallel_group(
      asio::co_spawn(ex, std::move(a), asio::experimental::deferred),
      asio::co_spawn(ex, std::move(b), asio::experimental::deferred));
  auto [order, failed_a, failed_b] =
      co_await group.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  const std::size_t winner = order[0];
  const std::exception_ptr failure = winner == 0 ? failed_a : failed_b;
  if (failure) std::rethrow_exception(failure);
  co_return winner;
}

namespace detail {
void throw_timeout(const std::string& what, Micros limit) {
  const auto seconds = static_cast<double>(limit.count()) / 1e6;
  throw Error(ErrorId::timed_out, fmt::format("{} did not come within {:g} s", what, seconds));
}
}  // namespace detail

static Task<bool> then_true(Task<> body) {
  co_await std::move(body);
  co_return true;
}

Task<> with_deadline(Clock& clock, Micros limit, std::string what, Task<> body) {
  Task<bool> flagged = then_true(std::move(body));
  co_await with_deadline(clock, limit, std::move(what), std::move(flagged));
}

}  // namespace vmferry
