#pragma once
#include <chrono>

#include "core/async/task.hpp"

namespace vmferry {

using Millis = std::chrono::milliseconds;
using Micros = std::chrono::microseconds;

/// The only source of time. Tests pass a simulated one and run hours in microseconds.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Micros now() const = 0;  ///< monotonic, since an arbitrary start
  virtual Task<> sleep(Micros duration) = 0;
};

/// The machine's monotonic clock.
class SystemClock final : public Clock {
 public:
  Micros now() const override;
  Task<> sleep(Micros duration) override;
};

}  // namespace vmferry
