#pragma once
// Virtual time for one event loop: hours pass in microseconds, and the same run twice is the same.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <exception>
#include <map>
#include <optional>
#include <utility>

#include "core/async/clock.hpp"

namespace vmferry {

/// Time stands still while anything can run, then jumps to whoever sleeps the shortest. Sleepers
/// that wake at the same moment wake in the order in which they fell asleep. The loop that runs it
/// must be this one: run(), or settle() and jump() by hand.
class SimClock final : public Clock {
 public:
  explicit SimClock(asio::io_context& io) : io_(io) {}
  Micros now() const override { return now_; }
  Task<> sleep(Micros duration) override;

  /// Runs what can run without time passing.
  void settle();
  /// To the next sleeper. False: nobody sleeps.
  bool jump();
  /// Runs a task to its end; what it threw is thrown here. Errors: internal when it waits for
  /// something that nothing will bring about.
  template <class T>
  T run(Task<T> task);
  void run(Task<> task);
  /// Lets this much time pass.
  void pass(Micros duration);

 private:
  struct Sleeper {
    asio::steady_timer timer;
    bool woken = false;
  };
  [[noreturn]] static void stuck();

  asio::io_context& io_;
  Micros now_{};
  std::multimap<Micros, Sleeper*> sleepers_;
};

template <class T>
T SimClock::run(Task<T> task) {
  std::optional<T> value;
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(io_, std::move(task), [&](std::exception_ptr e, T v) {
    failure = e;
    value = std::move(v);
    done = true;
  });
  settle();
  while (!done) {
    if (!jump()) stuck();
    settle();
  }
  if (failure) std::rethrow_exception(failure);
  return std::move(*value);
}

}  // namespace vmferry
