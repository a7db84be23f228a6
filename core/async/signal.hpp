#pragma once
#include <asio/steady_timer.hpp>
#include <string>

#include "core/async/task.hpp"

namespace vmferry {

/// A condition to wait for: `while (!ready) co_await signal.wait();`. notify() wakes every waiter;
/// one that starts to wait afterwards is not woken by it, hence the loop. Waiting has no deadline
/// of its own: race it against Clock::sleep where the other side may never notify.
class Signal {
 public:
  explicit Signal(const Executor& ex) : timer_(ex, asio::steady_timer::time_point::max()) {}
  Task<> wait();
  void notify() { timer_.cancel(); }
  Executor executor() { return timer_.get_executor(); }

 private:
  asio::steady_timer timer_;
};

/// "Please stop", said by a person or a time limit, seen by whoever looks. Stays requested.
class Stop {
 public:
  explicit Stop(const Executor& ex) : signal_(ex) {}
  void request(std::string why);
  bool requested() const { return times_ > 0; }
  int times() const { return times_; }  ///< how often it was asked: a second Ctrl-C is told apart
  const std::string& why() const { return why_; }  ///< the first reason
  Task<> wait();                                   ///< returns once requested

 private:
  Signal signal_;
  int times_ = 0;
  std::string why_;
};

}  // namespace vmferry
