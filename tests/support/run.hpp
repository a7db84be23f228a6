#pragma once
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <exception>
#include <optional>
#include <utility>

#include "core/async/task.hpp"

namespace vmferry {

/// Runs one task on the event loop until it completes; what it threw is thrown here.
template <class T>
T run(asio::io_context& io, Task<T> task) {
  std::optional<T> value;
  std::exception_ptr failure;
  bool done = false;
  io.restart();
  asio::co_spawn(io, std::move(task), [&](std::exception_ptr e, T v) {
    failure = e;
    value = std::move(v);
    done = true;
  });
  while (!done && io.run_one() != 0) {
  }
  if (failure) std::rethrow_exception(failure);
  return std::move(*value);
}
inline void run(asio::io_context& io, Task<> task) {
  std::exception_ptr failure;
  bool done = false;
  io.restart();
  asio::co_spawn(io, std::move(task), [&](std::exception_ptr e) {
    failure = e;
    done = true;
  });
  while (!done && io.run_one() != 0) {
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace vmferry
