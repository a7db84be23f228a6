// Jobs, and the knobs that a running migration has.
#include "core/proto/convert.hpp"
#include "core/serve/host_service.hpp"

namespace vmferry::serve {

using namespace proto;

Task<JobInfoRet> HostService::on(DomainGetJobInfo, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const JobStats s = co_await host().job_stats(domain, false);
  JobInfoRet ret;
  ret.type = std::to_underlying(s.type);
  ret.time_elapsed = s.number("time_elapsed");
  ret.time_remaining = s.number("time_remaining");
  ret.mem_total = s.number("memory_total");
  ret.mem_processed = s.number("memory_processed");
  ret.mem_remaining = s.number("memory_remaining");
  ret.file_total = s.number("disk_total");
  ret.file_processed = s.number("disk_processed");
  ret.file_remaining = s.number("disk_remaining");
  const auto sum = [&s](const char* field, std::uint64_t parts) {
    return s.fields.has(field) ? s.number(field) : parts;
  };
  ret.data_total = sum("data_total", ret.mem_total + ret.file_total);
  ret.data_processed = sum("data_processed", ret.mem_processed + ret.file_processed);
  ret.data_remaining = sum("data_remaining", ret.mem_remaining + ret.file_remaining);
  co_return ret;
}

Task<JobStatsRet> HostService::on(DomainGetJobStats, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool completed = (args.flags & kJobCompleted) != 0;
  const bool keep = (args.flags & kJobKeepCompleted) != 0;
  const JobStats s = co_await host().job_stats(domain, completed, keep);
  co_return JobStatsRet{std::to_underlying(s.type), {to_wire(s.fields)}};
}

Task<Void> HostService::on(DomainAbortJob, DomainArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().abort_job(domain, false);
  co_return Void{};
}

Task<Void> HostService::on(DomainAbortJobFlags, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool postcopy = (args.flags & kAbortPostcopy) != 0;
  co_await host().abort_job(domain, postcopy);
  co_return Void{};
}

Task<Void> HostService::on(DomainSetMaxDowntime, DomainValueArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().set_max_downtime(domain, args.value);
  co_return Void{};
}

Task<U64Ret> HostService::on(DomainGetMaxDowntime, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const std::uint64_t ms = co_await host().max_downtime(domain);
  co_return U64Ret{ms};
}

Task<Void> HostService::on(DomainSetMaxSpeed, DomainValueArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool postcopy = (args.flags & kSpeedPostcopy) != 0;
  co_await host().set_max_speed(domain, args.value, postcopy);
  co_return Void{};
}

Task<U64Ret> HostService::on(DomainGetMaxSpeed, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const bool postcopy = (args.flags & kSpeedPostcopy) != 0;
  const std::uint64_t mib = co_await host().max_speed(domain, postcopy);
  co_return U64Ret{mib};
}

Task<Void> HostService::on(DomainSetCompressionCache, DomainValueArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().set_compression_cache(domain, args.value);
  co_return Void{};
}

Task<U64Ret> HostService::on(DomainGetCompressionCache, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  const std::uint64_t bytes = co_await host().compression_cache(domain);
  co_return U64Ret{bytes};
}

Task<Void> HostService::on(DomainStartPostCopy, DomainFlagsArgs args) {
  const DomainRef domain = from_wire(args.dom);
  co_await host().start_postcopy(domain);
  co_return Void{};
}

}  // namespace vmferry::serve
