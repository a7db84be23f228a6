#pragma once
// Two hosts and one guest, just enough to drive the engine: every call can be made to fail, or to
// be carried out and lose its answer.
#include <asio/io_context.hpp>
#include <functional>
#include <map>
#include <string>

#include "core/async/clock.hpp"
#include "core/migrate/engine.hpp"

namespace vmferry {

/// Time that only moves when somebody sleeps.
class HastyClock final : public Clock {
 public:
  Micros now() const override { return now_; }
  Task<> sleep(Micros duration) override;

 private:
  Micros now_{};
};

enum class Fault : std::uint8_t { none, refuse, lose_request, lose_reply };

struct FakeWorld {
  struct Machine {
    std::optional<DomainStatus> guest;  ///< none: not there
    bool executed = false;              ///< ran guest code at some time
    bool persistent = true;
    bool job = false;
    bool ran_at_begin = false;  ///< only then a cancelled Confirm resumes it
    int connections_lost = 0;
    bool stands = false;  ///< as libxl has it: called running, and does not execute
    std::uint64_t cpu_time_ns = 0;
  };
  Machine source, destination;
  /// What happens to the n-th call, counted over both hosts from 0.
  std::map<int, Fault> faults;
  int calls = 0;
  std::function<void(int)> on_call = [](int) {};  ///< before the n-th is carried out
  bool keeps_records = false;
  bool libxl = false;         ///< departs from the contract as that driver does
  bool confirm_wakes = true;  ///< libxl 9.0
  bool restarts = false;      ///< libxl: in Perform the source's daemon is killed and started again
  bool two_seen = false;      ///< both copies executed at some moment
  bool source_unreachable_after_loss = false;
  bool destination_unreachable_after_loss = false;
  bool by_source = false;        ///< Perform does everything (peer-to-peer)
  bool postcopy_breaks = false;  ///< the switch to post-copy happens, and then the network fails
  /// Perform does not answer until its other end is gone.
  bool hangs = false;
  /// Perform never answers: the copy failed at the switch-over, and the guest ran on.
  bool forgets = false;
  std::optional<Cookie> cancelled_with;  ///< the cookie of Finish(cancelled)
  std::optional<ErrorId> prepare_refusal, perform_refusal;
  std::optional<DomainStatus> arrives_as;  ///< what Finish makes of the guest
  std::vector<std::string> log;

  bool two_running() const { return runs(source) && runs(destination); }
  static bool runs(const Machine& m) { return m.guest && m.guest->runs() && !m.stands; }
};

/// A connection to one of the two machines of the world.
class FakeHost final : public Host {
 public:
  FakeHost(FakeWorld& world, bool is_source) : world_(world), is_source_(is_source) {}
  ~FakeHost() override;

  Task<HostFeatures> features() override;
  Task<HostIdentity> identity() override { co_return HostIdentity{}; }
  Task<std::string> capabilities() override { co_return ""; }
  Task<std::string> domain_capabilities(std::string, std::string, std::string,
                                        std::string) override {
    co_return "";
  }
  Task<NodeInfo> node_info() override { co_return NodeInfo{}; }
  Task<std::uint64_t> free_memory() override { co_return 0; }
  Task<> close() override { co_return; }
  bool lost() const override { return lost_; }

  Task<DomainRef> find(std::string) override { co_return DomainRef{.name = "web1", .uuid = {}}; }
  Task<std::vector<ListedDomain>> list(bool, bool) override {
    co_return std::vector<ListedDomain>();
  }
  Task<DomainStatus> status(const DomainRef& domain) override;
  Task<DomainInfo> info(const DomainRef&) override;
  Task<bool> is_persistent(const DomainRef&) override { co_return machine().persistent; }
  Task<bool> autostart(const DomainRef&) override { co_return false; }
  Task<std::string> dump_xml(const DomainRef&, std::uint32_t) override { co_return "<domain/>"; }
  Task<DomainRef> define(std::string, DefineFlags) override {
    machine().persistent = true;
    co_return DomainRef{.name = "web1", .uuid = {}};
  }
  Task<> undefine(const DomainRef&, std::uint32_t) override;
  Task<> start(const DomainRef&, std::uint32_t) override { co_return; }
  Task<> suspend(const DomainRef&) override;
  Task<> resume(const DomainRef&) override;
  Task<> shutdown(const DomainRef&) override { co_return; }
  Task<> destroy(const DomainRef&, std::uint32_t) override;

  Task<JobStats> job_stats(const DomainRef&, bool, bool) override;
  Task<> abort_job(const DomainRef&, bool) override { co_return; }
  Task<> set_max_downtime(const DomainRef&, std::uint64_t) override { co_return; }
  Task<std::uint64_t> max_downtime(const DomainRef&) override { co_return 0; }
  Task<> set_max_speed(const DomainRef&, std::uint64_t, bool) override { co_return; }
  Task<std::uint64_t> max_speed(const DomainRef&, bool) override { co_return 0; }
  Task<> set_compression_cache(const DomainRef&, std::uint64_t) override { co_return; }
  Task<std::uint64_t> compression_cache(const DomainRef&) override { co_return 0; }
  Task<> start_postcopy(const DomainRef&) override { co_return; }
  Task<std::unique_ptr<Subscription>> subscribe(const DomainRef&, OnEvent) override;

  Task<Begun> begin(const PhaseCall& call) override;
  Task<Prepared> prepare(const PhaseCall& call, const Cookie& cookie) override;
  Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                       std::optional<std::string> dconnuri) override;
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<std::optional<bool>> ever_started(const DomainRef&, const Cookie&) override;

 private:
  FakeWorld::Machine& machine() { return is_source_ ? world_.source : world_.destination; }
  /// Counts the call; throws when it must not be carried out.
  Fault before(const char* what);
  /// Throws when the answer must get lost.
  void after(Fault fault, const char* what);
  void lose();
  Task<> forget_to_answer();
  /// libxl: a guest whose lock is held cannot be changed.
  void demand_lock();

  FakeWorld& world_;
  bool is_source_;
  OnEvent on_event_ = [](const DomainEvent&) {};
  bool lost_ = false;
  bool prepared_here_ = false;  ///< the incoming guest dies with this connection
};

}  // namespace vmferry
