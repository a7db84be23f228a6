#include "core/async/race.hpp"
#include "core/migrate/run.hpp"

namespace vmferry {

Witness::~Witness() = default;

Task<> Witness::dismiss() {
  if (!host_ || host_->lost()) co_return;
  const auto closed = co_await settle(host_->close());
  (void)closed;  // a courtesy
  host_.reset();
}

bool Witness::never_ran() const { return host_ && subscription_ && !host_->lost() && !ran_; }

static Task<std::unique_ptr<Subscription>> watch(Host& host, const DomainRef& domain, bool& ran) {
  const auto on_event = [&ran](const DomainEvent& event) {
    const bool resumed = event.kind == DomainEvent::Kind::lifecycle && event.event == kEventResumed;
    if (resumed) ran = true;
  };
  co_return co_await host.subscribe(domain, on_event);
}

Task<std::unique_ptr<Witness>> Witness::call(Run& run) {
  static constexpr Micros patience = std::chrono::seconds(5);
  auto witness = std::make_unique<Witness>();
  if (!run.destination.reopen) co_return nullptr;
  Task<std::unique_ptr<Host>> opening =
      with_deadline(run.engine.clock, patience, "a second connection", run.destination.reopen());
  auto opened = co_await settle(std::move(opening));
  if (!opened) co_return nullptr;
  witness->host_ = *std::move(opened);
  Task<std::unique_ptr<Subscription>> watching =
      watch(*witness->host_, run.plan.domain, witness->ran_);
  auto subscribed = co_await settle(std::move(watching));
  if (!subscribed) co_return nullptr;
  witness->subscription_ = *std::move(subscribed);
  co_return witness;
}

}  // namespace vmferry
