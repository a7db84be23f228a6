#pragma once
// Waiting for the first of two things, and limits on waiting. Unlike Asio's own `||`, the first
// *completion* decides, a failure included.
#include <asio/co_spawn.hpp>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <optional>
#include <string>
#include <utility>

#include "core/async/clock.hpp"

namespace vmferry {

/// Runs both until one completes, cancels the other and waits for it to end. What the first one
/// threw is thrown on. 0: `a` was first, 1: `b`.
Task<std::size_t> first_of(Task<> a, Task<> b);

/// `body`, or nothing once `limit` has passed (the body is cancelled and has ended by then).
template <class T>
Task<std::optional<T>> within(Clock& clock, Micros limit, Task<T> body);

/// As above; throws ErrorId::timed_out with `what` ("the destination's answer") in its message.
template <class T>
Task<T> with_deadline(Clock& clock, Micros limit, std::string what, Task<T> body);
Task<> with_deadline(Clock& clock, Micros limit, std::string what, Task<> body);

/// Runs both to their end, at the same time; the first failure is thrown when both have ended.
template <class A, class B>
Task<std::pair<A, B>> both(Task<A> a, Task<B> b);

// -- details ------------------------------------------------------------------------------------

namespace detail {
[[noreturn]] void throw_timeout(const std::string& what, Micros limit);
template <class T>
Task<> keep(Task<T> body, std::optional<Result<T>>& into) {
  into = co_await settle(std::move(body));
}
}  // namespace detail

template <class T>
Task<std::optional<T>> within(Clock& clock, Micros limit, Task<T> body) {
  std::optional<Result<T>> result;
  Task<> kept = detail::keep(std::move(body), result);
  Task<> timer = clock.sleep(limit);
  const std::size_t winner = co_await first_of(std::move(kept), std::move(timer));
  if (winner == 1) co_return std::nullopt;
  co_return value_or_throw(std::move(*result));
}

template <class T>
Task<T> with_deadline(Clock& clock, Micros limit, std::string what, Task<T> body) {
  std::optional<T> value = co_await within(clock, limit, std::move(body));
  if (!value) detail::throw_timeout(what, limit);
  co_return *std::move(value);
}

template <class A, class B>
Task<std::pair<A, B>> both(Task<A> a, Task<B> b) {
  std::optional<Result<A>> first;
  std::optional<Result<B>> second;
  const auto ex = co_await asio::this_coro::executor;
  auto group = asio::experimental::make_parallel_group(
      asio::co_spawn(ex, detail::keep(std::move(a), first), asio::experimental::deferred),
      asio::co_spawn(ex, detail::keep(std::move(b), second), asio::experimental::deferred));
  co_await group.async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  if (!first || !second) throw Error(ErrorId::cancelled, "cancelled");
  A one = value_or_throw(std::move(*first));
  B two = value_or_throw(std::move(*second));
  co_return std::pair<A, B>(std::move(one), std::move(two));
}

}  // namespace vmferry
