#include "core/migrate/progress.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/units.hpp"

namespace vmferry {

namespace {

struct Amounts {
  std::uint64_t processed, remaining, total;
};

// Memory and disks together where the host adds them up, else memory alone.
Amounts amounts(const JobStats& stats) {
  Amounts a{stats.number("data_processed"), stats.number("data_remaining"),
            stats.number("data_total")};
  if (a.total == 0)
    a = {stats.number("memory_processed"), stats.number("memory_remaining"),
         stats.number("memory_total")};
  return a;
}

}  // namespace

std::uint64_t Progress::throughput(const JobStats& stats, std::uint64_t processed, Micros now) {
  const std::uint64_t said = stats.number("memory_bps") + stats.number("disk_bps");
  const std::uint64_t before = last_ ? last_->processed : 0;
  const Micros since = last_ ? now - last_->at : Micros(0);
  last_ = Sample{now, processed};
  if (said != 0) return said;
  if (since < std::chrono::milliseconds(50) || processed < before) return rate_;
  return static_cast<std::uint64_t>(static_cast<double>(processed - before) * 1e6 /
                                    static_cast<double>(since.count()));
}

// Compared at the start of each iteration: within one, what is left only shrinks.
void Progress::judge_convergence(const JobStats& stats, ProgressView& view) {
  if (view.iteration > iteration_) {
    const bool less = iteration_ < 2 || view.remaining < left_at_iteration_;
    not_shrinking_ = less ? 0 : not_shrinking_ + 1;
    left_at_iteration_ = view.remaining;
    iteration_ = view.iteration;
  }
  const std::uint64_t limit_ms = std::max<std::uint64_t>(stats.number("downtime"), 1);
  const bool outrun = view.iteration >= 2 && view.dirty_rate >= view.throughput;
  if (view.throughput != 0 && (outrun || not_shrinking_ >= 2)) {
    view.no_eta = fmt::format(
        "dirtying {}, sending {}: cannot finish within {} ms downtime; try --auto-converge or "
        "--postcopy",
        human_rate(view.dirty_rate), human_rate(view.throughput), limit_ms);
  } else if (view.throughput > view.dirty_rate && view.iteration != 0) {
    const double left = static_cast<double>(view.remaining);
    const double rate = static_cast<double>(view.throughput - view.dirty_rate);
    view.eta = Micros(static_cast<std::int64_t>(left / rate * 1e6));
  }
}

ProgressView Progress::update(const JobStats& stats, Micros now) {
  const Amounts a = amounts(stats);
  ProgressView view;
  view.processed = a.processed;
  view.remaining = a.remaining;
  view.total = a.total;
  view.elapsed = std::chrono::milliseconds(stats.number("time_elapsed"));
  view.iteration = stats.number("memory_iteration");
  const std::uint64_t page = stats.number("memory_page_size");
  view.dirty_rate = stats.number("memory_dirty_rate") * (page == 0 ? 4096 : page);
  rate_ = throughput(stats, a.processed, now);
  view.throughput = rate_;
  if (a.total == 0) return view;
  const double done = static_cast<double>(a.total - std::min(a.remaining, a.total));
  best_ = std::max(best_, done / static_cast<double>(a.total));
  view.fraction = best_;
  judge_convergence(stats, view);
  return view;
}

}  // namespace vmferry
