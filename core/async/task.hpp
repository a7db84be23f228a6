#pragma once
#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include "core/base/error.hpp"

namespace vmferry {

/// Every asynchronous function returns Task<T>. Failures are thrown as Error; see settle().
template <class T = void>
using Task = asio::awaitable<T>;
using Executor = asio::any_io_executor;

/// Turns "threw" into "returned": the only place where exceptions become values.
/// (co_await is illegal inside a catch block, so recovery code must run after one.)
template <class T>
Task<Result<T>> settle(Task<T> body) {
  try {
    T value = co_await std::move(body);
    co_return Result<T>(std::move(value));
  } catch (...) {
    co_return Result<T>(std::unexpect, current_error());
  }
}
Task<Result<>> settle(Task<> body);

/// `co_await shield();` makes the rest of this coroutine deaf to cancellation, so that it can clean
/// up. A plain function on purpose: once cancelled, Asio throws on co_await of any child Task.
inline auto shield() {
  return asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
}

}  // namespace vmferry
