#pragma once
// From a host's job statistics to what a person wants to know. Pure.
#include <cstdint>
#include <optional>
#include <string>

#include "core/async/clock.hpp"
#include "core/host/domain.hpp"

namespace vmferry {

/// Amounts in bytes, rates in bytes per second; 0 or none: the host does not say.
struct ProgressView {
  std::optional<double> fraction;  ///< 0..1 of what is known to be left to do; never runs backwards
  std::uint64_t processed = 0, remaining = 0, total = 0;
  std::uint64_t throughput = 0, dirty_rate = 0;
  std::uint64_t iteration = 0;
  Micros elapsed{};
  std::optional<Micros> eta;
  std::string no_eta;  ///< why there is none, with the remedy; empty while too little is known
};

/// Statistics in, views out, in the order in which they were read.
class Progress {
 public:
  ProgressView update(const JobStats& stats, Micros now);

 private:
  struct Sample {
    Micros at{};
    std::uint64_t processed = 0;
  };
  std::uint64_t throughput(const JobStats& stats, std::uint64_t processed, Micros now);
  void judge_convergence(const JobStats& stats, ProgressView& view);

  std::optional<Sample> last_;
  double best_ = 0;
  std::uint64_t rate_ = 0;
  std::uint64_t iteration_ = 0;
  std::uint64_t left_at_iteration_ = 0;  ///< what was left when the current iteration began
  int not_shrinking_ = 0;                ///< iterations in a row that began with no less to do
};

}  // namespace vmferry
