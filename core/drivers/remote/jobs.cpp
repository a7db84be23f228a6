// Jobs and events.
#include <asio/co_spawn.hpp>

#include "core/async/race.hpp"
#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/event.hpp"
#include "core/proto/job.hpp"

namespace vmferry {

using namespace proto;

Task<JobStats> RemoteHost::old_job_stats(const DomainRef& domain) {
  const JobInfoRet ret = co_await client_->call<DomainGetJobInfo>({to_wire(domain)});
  JobStats stats;
  stats.type = static_cast<JobType>(ret.type);
  const std::pair<const char*, std::uint64_t> rows[] = {
      {"time_elapsed", ret.time_elapsed},      {"time_remaining", ret.time_remaining},
      {"data_total", ret.data_total},          {"data_processed", ret.data_processed},
      {"data_remaining", ret.data_remaining},  {"memory_total", ret.mem_total},
      {"memory_processed", ret.mem_processed}, {"memory_remaining", ret.mem_remaining},
      {"disk_total", ret.file_total},          {"disk_processed", ret.file_processed},
      {"disk_remaining", ret.file_remaining}};
  for (const auto& [field, value] : rows)
    if (value != 0) stats.fields.add(field, value);
  co_return stats;
}

// The typed statistics, or the older fixed ones where the driver has no others (xen).
Task<JobStats> RemoteHost::job_stats(const DomainRef& domain, bool completed, bool keep) {
  const std::uint32_t flags = completed ? (kJobCompleted | (keep ? kJobKeepCompleted : 0)) : 0;
  auto ret = co_await settle(client_->call<DomainGetJobStats>({to_wire(domain), flags}));
  if (!ret && ret.error().wire.code == kNoSupport && !completed) {
    co_return co_await old_job_stats(domain);
  }
  const JobStatsRet got = value_or_throw(std::move(ret));
  co_return JobStats{static_cast<JobType>(got.type), from_wire(got.params.v)};
}

Task<> RemoteHost::abort_job(const DomainRef& domain, bool postcopy) {
  const rpc::CallOptions urgent{.urgent = true};
  if (postcopy)
    co_await client_->call<DomainAbortJobFlags>({to_wire(domain), kAbortPostcopy}, urgent);
  else
    co_await client_->call<DomainAbortJob>({to_wire(domain)}, urgent);
}

Task<> RemoteHost::set_max_downtime(const DomainRef& domain, std::uint64_t ms) {
  co_await client_->call<DomainSetMaxDowntime>({to_wire(domain), ms, 0});
}

Task<std::uint64_t> RemoteHost::max_downtime(const DomainRef& domain) {
  const U64Ret ret = co_await client_->call<DomainGetMaxDowntime>({to_wire(domain), 0});
  co_return ret.value;
}

Task<> RemoteHost::set_max_speed(const DomainRef& domain, std::uint64_t mib_per_s, bool postcopy) {
  const std::uint32_t flags = postcopy ? kSpeedPostcopy : 0;
  co_await client_->call<DomainSetMaxSpeed>({to_wire(domain), mib_per_s, flags});
}

Task<std::uint64_t> RemoteHost::max_speed(const DomainRef& domain, bool postcopy) {
  const std::uint32_t flags = postcopy ? kSpeedPostcopy : 0;
  const U64Ret ret = co_await client_->call<DomainGetMaxSpeed>({to_wire(domain), flags});
  co_return ret.value;
}

Task<> RemoteHost::set_compression_cache(const DomainRef& domain, std::uint64_t bytes) {
  co_await client_->call<DomainSetCompressionCache>({to_wire(domain), bytes, 0});
}

Task<std::uint64_t> RemoteHost::compression_cache(const DomainRef& domain) {
  const U64Ret ret = co_await client_->call<DomainGetCompressionCache>({to_wire(domain), 0});
  co_return ret.value;
}

Task<> RemoteHost::start_postcopy(const DomainRef& domain) {
  co_await client_->call<DomainStartPostCopy>({to_wire(domain), 0});
}

// -- events ---------------------------------------------------------------------------------------

// Events may come before the answer that tells their callback's number, so they are matched by
// their domain, and by the subscription being alive.
struct RemoteHost::Events {
  struct Listener {
    Uuid domain;
    OnEvent on;
  };
  std::map<int, Listener> listeners;
  int next = 0;

  void tell(const DomainEvent& event) {
    const auto copy = listeners;  // a listener may end a subscription
    for (const auto& [number, listener] : copy)
      if (listener.domain == event.domain.uuid && listeners.contains(number)) listener.on(event);
  }

  template <class E>
  static std::optional<typename E::Body> body(std::span<const std::byte> bytes) {
    auto decoded = xdr::decode<typename E::Body>(bytes);
    return decoded ? std::optional(*std::move(decoded)) : std::nullopt;
  }

  void heard(std::int32_t procedure, std::span<const std::byte> bytes) {
    DomainEvent event;
    if (procedure == EventLifecycle::number) {
      const auto b = body<EventLifecycle>(bytes);
      if (!b) return;
      event.kind = DomainEvent::Kind::lifecycle;
      event.domain = from_wire(b->dom);
      event.event = b->event;
      event.detail = b->detail;
    } else if (procedure == EventIteration::number) {
      const auto b = body<EventIteration>(bytes);
      if (!b) return;
      event.kind = DomainEvent::Kind::iteration;
      event.domain = from_wire(b->dom);
      event.iteration = b->iteration;
    } else if (procedure == EventJobCompleted::number) {
      const auto b = body<EventJobCompleted>(bytes);
      if (!b) return;
      event.kind = DomainEvent::Kind::job_completed;
      event.domain = from_wire(b->dom);
      event.stats = {JobType::completed, from_wire(b->params.v)};
    } else {
      return;
    }
    tell(event);
  }
};

// The daemon goes on sending until the connection ends; nobody listens any more.
class RemoteHost::Registration final : public Subscription {
 public:
  Registration(std::shared_ptr<Events> events, const DomainRef& domain, OnEvent on)
      : events_(std::move(events)), number_(events_->next++) {
    events_->listeners.emplace(number_, Events::Listener{domain.uuid, std::move(on)});
  }
  ~Registration() override { events_->listeners.erase(number_); }

 private:
  std::shared_ptr<Events> events_;
  int number_;
};

RemoteHost::RemoteHost(std::unique_ptr<rpc::Client> client)
    : client_(std::move(client)), events_(std::make_shared<Events>()) {
  client_->on_event([events = events_](std::int32_t procedure, std::span<const std::byte> body) {
    events->heard(procedure, body);
  });
}

RemoteHost::~RemoteHost() = default;

Task<std::int32_t> RemoteHost::register_event(std::int32_t event_id, const DomainRef& domain) {
  EventRegisterArgs args{event_id, xdr::Maybe<Domain>(to_wire(domain))};
  const IntRet ret = co_await client_->call<EventRegister>(std::move(args));
  co_return ret.value;
}

// No domain in the registration: on a destination the domain may not be there yet.
Task<std::unique_ptr<Subscription>> RemoteHost::subscribe(const DomainRef& domain, OnEvent on) {
  auto registration = std::make_unique<Registration>(events_, domain, std::move(on));
  auto others = both(settle(register_event(kEventIdIteration, domain)),
                     settle(register_event(kEventIdJobCompleted, domain)));
  const auto [lifecycle, more] =
      co_await both(settle(register_event(kEventIdLifecycle, domain)), std::move(others));
  (void)more;  // not every driver has these two
  if (!lifecycle) throw lifecycle.error();
  co_return registration;
}

}  // namespace vmferry
