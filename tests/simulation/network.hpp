#pragma once
// What lies between the client and the simulated daemons: calls take time, every call sent and
// every reply received is a numbered step, and faults strike at steps.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/async/signal.hpp"
#include "core/async/sim_clock.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

enum class FaultKind : std::uint8_t {
  cut_source,  ///< the client's connections to that host break
  cut_destination,
  crash_source,  ///< the daemon is killed and started again
  crash_destination,
  kill_source,  ///< the guest's process there
  kill_destination,
  cut_data,  ///< the hosts cannot reach each other any more
  cancel,    ///< Ctrl-C
  kill_client,
};
inline constexpr int kFaultKinds = 9;
std::string_view name(FaultKind kind);

struct Fault {
  int step = 0;
  FaultKind kind = FaultKind::cancel;
  /// A request under way when its connection breaks is carried out all the same.
  bool late = false;
};

struct Connection;

class Net {
 public:
  Net(SimClock& clock, Executor ex, std::shared_ptr<World> world, Uuid uuid)
      : clock_(clock), ex_(std::move(ex)), world_(std::move(world)), uuid_(uuid) {}

  std::vector<Fault> faults;
  std::function<void()> on_cancel, on_kill_client;
  std::vector<std::string> log;  ///< kept when `verbose`
  bool verbose = false;

  void step(std::string_view what);
  int steps() const { return steps_; }
  bool client_dead() const { return client_dead_; }
  bool hypervisor_killed() const { return hypervisor_killed_; }
  const std::vector<std::string>& violations() const { return violations_; }
  void violation(std::string what);
  void look();  ///< at what must hold at every moment

  std::unique_ptr<Host> connect(const std::string& host);
  /// Runs on the daemons' side, whatever becomes of the caller.
  void spawn(Task<> task);
  int running() const { return running_; }
  SimClock& clock() { return clock_; }
  const Executor& executor() const { return ex_; }
  Micros latency = std::chrono::milliseconds(1);

 private:
  void strike(const Fault& fault);
  void cut(const std::string& host, bool late);
  SimClock& clock_;
  Executor ex_;
  std::shared_ptr<World> world_;
  Uuid uuid_;
  int steps_ = 0, running_ = 0;
  bool client_dead_ = false, hypervisor_killed_ = false;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::vector<std::string> violations_;
};

}  // namespace vmferry::sim
