// Jobs and events.
#include <algorithm>

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

// Every subscription registers for itself, so an event is told once per callback number. Events may
// come before the answer that tells the number: until then they are matched by their domain.
struct RemoteHost::Events {
  struct Listener {
    Uuid domain;
    OnEvent on;
    std::vector<std::int32_t> callbacks;
    bool registered = false;
    bool wants(std::int32_t callback, const DomainRef& of) const {
      if (domain != Uuid{} && domain != of.uuid) return false;
      return !registered || std::ranges::find(callbacks, callback) != callbacks.end();
    }
  };
  std::map<int, Listener> listeners;
  int next = 0;
  rpc::Client* client = nullptr;  // none once the connection object is gone

  void tell(std::int32_t callback, const DomainEvent& event) {
    const auto copy = listeners;  // a listener may end a subscription
    for (const auto& [number, listener] : copy)
      if (listener.wants(callback, event.domain) && listeners.contains(number)) listener.on(event);
  }

  template <class E, class Fill>
  bool heard_as(std::int32_t procedure, std::span<const std::byte> bytes, Fill fill) {
    if (procedure != E::number) return false;
    const auto body = xdr::decode<typename E::Body>(bytes);
    if (!body) return true;  // malformed: nobody's event
    DomainEvent event;
    event.domain = from_wire(body->dom);
    fill(*body, event);
    tell(body->callback, event);
    return true;
  }

  void heard(std::int32_t procedure, std::span<const std::byte> bytes) {
    const bool known =
        heard_as<EventLifecycle>(procedure, bytes,
                                 [](const LifecycleBody& b, DomainEvent& e) {
                                   e.kind = DomainEvent::Kind::lifecycle;
                                   e.event = b.event;
                                   e.detail = b.detail;
                                 }) ||
        heard_as<EventIteration>(procedure, bytes, [](const IterationBody& b, DomainEvent& e) {
          e.kind = DomainEvent::Kind::iteration;
          e.iteration = b.iteration;
        });
    if (known) return;
    heard_as<EventJobCompleted>(procedure, bytes, [](const JobCompletedBody& b, DomainEvent& e) {
      e.kind = DomainEvent::Kind::job_completed;
      e.stats = {JobType::completed, from_wire(b.params.v)};
    });
  }
};

class RemoteHost::Registration final : public Subscription {
 public:
  Registration(std::shared_ptr<Events> events, const DomainRef& domain, OnEvent on)
      : events_(std::move(events)), number_(events_->next++) {
    events_->listeners[number_] = {domain.uuid, std::move(on), {}, false};
  }
  ~Registration() override {
    if (events_->client)
      for (const std::int32_t callback : listener().callbacks)
        events_->client->post<EventDeregister>({callback});
    events_->listeners.erase(number_);
  }
  Events::Listener& listener() { return events_->listeners[number_]; }

 private:
  std::shared_ptr<Events> events_;
  int number_;
};

std::shared_ptr<RemoteHost::Events> RemoteHost::listen(rpc::Client& client) {
  auto events = std::make_shared<Events>();
  events->client = &client;
  client.on_event([events](std::int32_t procedure, std::span<const std::byte> body) {
    events->heard(procedure, body);
  });
  return events;
}

RemoteHost::~RemoteHost() { events_->client = nullptr; }

Task<std::int32_t> RemoteHost::register_event(std::int32_t event_id, const DomainRef& domain) {
  EventRegisterArgs args{event_id, {}};
  if (domain.uuid != Uuid{}) args.dom = xdr::Maybe<Domain>(to_wire(domain));
  const IntRet ret = co_await client_->call<EventRegister>(std::move(args));
  co_return ret.value;
}

Task<std::unique_ptr<Subscription>> RemoteHost::subscribe(const DomainRef& domain, OnEvent on) {
  auto registration = std::make_unique<Registration>(events_, domain, std::move(on));
  auto others = both(settle(register_event(kEventIdIteration, domain)),
                     settle(register_event(kEventIdJobCompleted, domain)));
  auto [lifecycle, more] =
      co_await both(settle(register_event(kEventIdLifecycle, domain)), std::move(others));
  if (!lifecycle) throw std::move(lifecycle).error();
  Events::Listener& listener = registration->listener();
  listener.callbacks.push_back(*lifecycle);
  for (const auto& other : {more.first, more.second})  // not every driver has these two
    if (other) listener.callbacks.push_back(*other);
  listener.registered = true;
  co_return registration;
}

}  // namespace vmferry
