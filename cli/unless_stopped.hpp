#pragma once
#include <fmt/format.h>

#include <optional>

#include "core/async/race.hpp"
#include "core/async/signal.hpp"

namespace vmferry::cli {

/// The body's result, unless a stop is requested first: then the body is cancelled, has ended, and
/// ErrorId::cancelled is thrown. For work that can be dropped at any point; a migration cannot.
template <class T>
Task<T> unless_stopped(Stop& stop, Task<T> body) {
  std::optional<Result<T>> result;
  Task<> kept = vmferry::detail::keep(std::move(body), result);
  Task<> stopped = stop.wait();
  const std::size_t winner = co_await first_of(std::move(kept), std::move(stopped));
  if (winner == 0) co_return value_or_throw(std::move(*result));
  throw Error(ErrorId::cancelled, fmt::format("stopped by {} before it was done", stop.why()));
}

}  // namespace vmferry::cli
