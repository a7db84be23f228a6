#include "tests/simulation/network.hpp"

#include <fmt/format.h>

#include <asio/co_spawn.hpp>

#include "tests/simulation/connection.hpp"

namespace vmferry::sim {

std::string_view name(FaultKind kind) {
  static constexpr std::string_view names[] = {
      "cut-source",       "cut-destination", "crash-source", "crash-destination", "kill-source",
      "kill-destination", "cut-data",        "cancel",       "kill-client"};
  return names[std::to_underlying(kind)];
}

void Net::violation(std::string what) { violations_.push_back(std::move(what)); }

void Net::look() {
  if (world_->executing(uuid_) > 1 && violations_.empty()) violation("two copies execute");
  if (world_->stale_execution && violations_.empty()) violation("an old copy executes");
}

void Net::step(std::string_view what) {
  if (client_dead_) return;
  ++steps_;
  if (verbose) log.push_back(fmt::format("{:>4} {:>9} us  {}", steps_, clock_.now().count(), what));
  for (const Fault& fault : faults)
    if (fault.step == steps_) strike(fault);
  look();
}

void Net::strike(const Fault& fault) {
  if (verbose)
    log.push_back(fmt::format("     FAULT {}{}", name(fault.kind), fault.late ? " (late)" : ""));
  switch (fault.kind) {
    case FaultKind::cut_source:
      cut("a", fault.late);
      break;
    case FaultKind::cut_destination:
      cut("b", fault.late);
      break;
    case FaultKind::crash_source:
    case FaultKind::crash_destination: {
      const std::string host = fault.kind == FaultKind::crash_source ? "a" : "b";
      world_->crash_daemon(host);
      cut(host, false);
      break;
    }
    case FaultKind::kill_source:
    case FaultKind::kill_destination:
      hypervisor_killed_ = true;
      world_->kill_guest(fault.kind == FaultKind::kill_source ? "a" : "b", uuid_);
      break;
    case FaultKind::cut_data:
      world_->link().up = false;
      break;
    case FaultKind::cancel:
      on_cancel();
      break;
    case FaultKind::kill_client:
      client_dead_ = true;
      cut("a", fault.late);
      cut("b", fault.late);
      on_kill_client();
      break;
  }
}

void Net::cut(const std::string& host, bool late) {
  for (const auto& weak : connections_) {
    const auto link = weak.lock();
    if (!link || link->lost || link->host != host) continue;
    link->lost = true;
    link->late = late;
    link->changed.notify();
    // A late request is carried out before the daemon notices.
    spawn(notice_later(*this, link, late ? std::chrono::seconds(2) : latency / 2));
  }
}

std::unique_ptr<Host> Net::connect(const std::string& host) {
  auto link = std::make_shared<Connection>(ex_, host);
  link->daemon = std::make_shared<TestHost>(world_, *world_->host(host), "test:///" + host);
  connections_.push_back(link);
  return std::make_unique<ClientHost>(*this, link);
}

void Net::spawn(Task<> task) {
  ++running_;
  asio::co_spawn(ex_, std::move(task), [this](std::exception_ptr) { --running_; });
}

}  // namespace vmferry::sim
