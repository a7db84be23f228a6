// Job statistics, limits and events of a simulated host.
#include <algorithm>

#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {
std::uint64_t ms(Micros m) {
  return static_cast<std::uint64_t>(std::max(m, Micros::zero()).count()) / 1000;
}

class Kept final : public Subscription {
 public:
  explicit Kept(std::shared_ptr<Subscriber> subscriber) : subscriber_(std::move(subscriber)) {}

 private:
  std::shared_ptr<Subscriber> subscriber_;
};
}  // namespace

JobStats figures_to_stats(const CopyFigures& f, JobType type, Micros now, bool statistics) {
  JobStats stats;
  stats.type = type;
  Params& p = stats.fields;
  const bool over = type == JobType::completed;
  const auto put = [&p](std::string_view field, std::uint64_t v) { p.add(field, v); };
  p.add("operation", std::int32_t{5});
  put("time_elapsed", ms((over ? f.ended : now) - f.started));
  if (!statistics) return stats;
  const std::uint64_t remaining = over ? 0 : f.memory_remaining;
  if (!over && f.bps > 0) put("time_remaining", remaining * 1000 / f.bps);
  if (over) put("downtime", ms(f.ended - f.stopped));
  if (!over && f.bps > 0) put("downtime", remaining * 1000 / f.bps);
  put("setup_time", ms(f.setup));
  put("data_total", f.memory_total + f.disk_total);
  put("data_processed", f.memory_sent + f.disk_sent);
  put("data_remaining",
      remaining + (over ? 0 : f.disk_total - std::min(f.disk_sent, f.disk_total)));
  put("memory_total", f.memory_total);
  put("memory_processed", f.memory_sent);
  put("memory_remaining", remaining);
  put("memory_bps", f.bps);
  put("memory_constant", f.zero_pages);
  put("memory_normal", f.normal_pages);
  put("memory_normal_bytes", f.normal_bytes);
  put("memory_dirty_rate", f.dirty_rate);
  put("memory_iteration", f.iteration);
  put("memory_page_size", f.page_bytes);
  put("memory_postcopy_requests", f.postcopy_requests);
  if (f.disk_total > 0) {
    put("disk_total", f.disk_total);
    put("disk_processed", f.disk_sent);
    put("disk_remaining", f.disk_total - std::min(f.disk_sent, f.disk_total));
  }
  if (f.compressed_pages > 0) {
    put("compression_bytes", f.compressed_bytes);
    put("compression_pages", f.compressed_pages);
    put("compression_cache_misses", f.cache_misses);
    put("compression_overflow", 0);
  }
  if (f.throttle > 0) p.add("auto_converge_throttle", std::int32_t{f.throttle});
  return stats;
}

Task<JobStats> TestHost::job_stats(const DomainRef& domain, bool completed, bool keep) {
  const auto found = guest(domain);
  if (completed) {
    JobStats last = found->completed.value_or(JobStats{});
    if (!keep) found->completed.reset();
    co_return last;
  }
  if (found->in) {
    JobStats incoming;
    incoming.type = JobType::unbounded;
    incoming.fields.add("operation", std::int32_t{4});
    incoming.fields.add("time_elapsed", ms(world_->now() - found->in->began));
    co_return incoming;
  }
  if (!found->out) co_return JobStats{};
  const OutJob& job = *found->out;
  if (job.phase == JobPhase::begun) {
    JobStats begun;
    begun.type = JobType::unbounded;
    begun.fields.add("operation", std::int32_t{5});
    co_return begun;
  }
  co_return figures_to_stats(job.figures, JobType::unbounded, world_->now(), host_.spec.statistics);
}

Task<> TestHost::abort_job(const DomainRef& domain, bool postcopy) {
  const auto found = active_guest(domain);
  if (!found->out || found->out->phase == JobPhase::begun)
    throw refusal(ErrorId::invalid_state, 55, "no job is active on the domain");
  if (found->out->postcopy != postcopy)
    throw refusal(ErrorId::invalid_state, 55,
                  postcopy ? "the migration is not in post-copy"
                           : "cannot abort migration in post-copy mode");
  if (found->out->phase == JobPhase::performed && !postcopy)
    throw refusal(ErrorId::invalid_state, 55, "the copy is over; the destination decides now");
  found->out->abort = true;
  co_return;
}

Task<> TestHost::set_max_downtime(const DomainRef& domain, std::uint64_t value) {
  active_guest(domain)->max_downtime_ms = value;
  co_return;
}
Task<std::uint64_t> TestHost::max_downtime(const DomainRef& domain) {
  co_return active_guest(domain)->max_downtime_ms;
}
Task<> TestHost::set_max_speed(const DomainRef& domain, std::uint64_t mib, bool postcopy) {
  const auto found = active_guest(domain);
  (postcopy ? found->max_speed_postcopy : found->max_speed) = mib;
  co_return;
}
Task<std::uint64_t> TestHost::max_speed(const DomainRef& domain, bool postcopy) {
  const auto found = guest(domain);
  co_return postcopy ? found->max_speed_postcopy : found->max_speed;
}
Task<> TestHost::set_compression_cache(const DomainRef& domain, std::uint64_t bytes) {
  active_guest(domain)->cache_bytes = bytes;
  co_return;
}
Task<std::uint64_t> TestHost::compression_cache(const DomainRef& domain) {
  co_return active_guest(domain)->cache_bytes;
}

Task<> TestHost::start_postcopy(const DomainRef& domain) {
  const auto found = active_guest(domain);
  if (!found->out || found->out->phase != JobPhase::performing)
    throw refusal(ErrorId::invalid_state, 55,
                  "post-copy can only be started while a migration copies");
  if (!found->out->postcopy_allowed)
    throw refusal(ErrorId::invalid_state, 55,
                  "switching to post-copy was not enabled by --postcopy");
  found->out->postcopy_wanted = true;
  co_return;
}

Task<std::unique_ptr<Subscription>> TestHost::subscribe(const DomainRef& domain, OnEvent on) {
  check_open();
  if (!host_.spec.events) throw refusal(ErrorId::unsupported, 3, "this host sends no events");
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->uuid = domain.uuid;
  subscriber->any = domain.uuid == Uuid{};
  subscriber->connected = connected_;
  subscriber->on = std::move(on);
  host_.subscribers.push_back(subscriber);
  std::unique_ptr<Subscription> kept = std::make_unique<Kept>(std::move(subscriber));
  co_return kept;
}

}  // namespace vmferry::sim
