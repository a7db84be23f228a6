#pragma once
// A connection to a simulated host. See world.hpp; errors carry libvirt's codes, domain 12
// (VIR_FROM_TEST).
#include <memory>
#include <string>

#include "core/drivers/test/world.hpp"

namespace vmferry::sim {

/// An error as the simulated daemon words it.
Error refusal(ErrorId id, std::int32_t libvirt_code, std::string message);

class TestHost final : public Host {
 public:
  TestHost(std::shared_ptr<World> world, HostState& host, std::string uri);
  ~TestHost() override;

  /// The connection breaks: calls fail from now on; what the daemon does then, happens.
  void hang_up();
  World& world() { return *world_; }

  Task<HostFeatures> features() override;
  Task<HostIdentity> identity() override;
  Task<std::string> capabilities() override;
  Task<std::string> domain_capabilities(std::string emulator, std::string arch, std::string machine,
                                        std::string virttype) override;
  Task<NodeInfo> node_info() override;
  Task<std::uint64_t> free_memory() override;
  Task<> close() override;
  bool lost() const override;

  Task<DomainRef> find(std::string name_id_or_uuid) override;
  Task<std::vector<ListedDomain>> list(bool active, bool inactive) override;
  Task<DomainStatus> status(const DomainRef& domain) override;
  Task<DomainInfo> info(const DomainRef& domain) override;
  Task<bool> is_persistent(const DomainRef& domain) override;
  Task<bool> autostart(const DomainRef& domain) override;
  Task<> set_autostart(const DomainRef& domain, bool on) override;
  Task<std::string> dump_xml(const DomainRef& domain, std::uint32_t xml_flags) override;
  Task<DomainRef> define(std::string xml, DefineFlags flags) override;
  Task<> undefine(const DomainRef& domain, std::uint32_t flags) override;
  Task<> start(const DomainRef& domain, std::uint32_t flags) override;
  Task<> suspend(const DomainRef& domain) override;
  Task<> resume(const DomainRef& domain) override;
  Task<> shutdown(const DomainRef& domain) override;
  Task<> destroy(const DomainRef& domain, std::uint32_t flags) override;

  Task<JobStats> job_stats(const DomainRef& domain, bool completed, bool keep) override;
  Task<> abort_job(const DomainRef& domain, bool postcopy) override;
  Task<> set_max_downtime(const DomainRef& domain, std::uint64_t ms) override;
  Task<std::uint64_t> max_downtime(const DomainRef& domain) override;
  Task<> set_max_speed(const DomainRef& domain, std::uint64_t mib_per_s, bool postcopy) override;
  Task<std::uint64_t> max_speed(const DomainRef& domain, bool postcopy) override;
  Task<> set_compression_cache(const DomainRef& domain, std::uint64_t bytes) override;
  Task<std::uint64_t> compression_cache(const DomainRef& domain) override;
  Task<> start_postcopy(const DomainRef& domain) override;
  Task<std::unique_ptr<Subscription>> subscribe(const DomainRef& domain, OnEvent on) override;

  Task<Begun> begin(const PhaseCall& call) override;
  Task<Prepared> prepare(const PhaseCall& call, const Cookie& cookie) override;
  Task<Tunnel> prepare_tunnel(const PhaseCall& call, const Cookie& cookie) override;
  Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                       std::optional<std::string> dconnuri) override;
  /// The guest is busy from now on, until this connection ends. Errors: no_domain, invalid_state.
  void take_for_peer(const PhaseCall& call);
  /// What perform() does when this host drives nobody. `tunnel` may be null.
  Task<Cookie> perform_here(const PhaseCall& call, const Cookie& cookie,
                            std::unique_ptr<Stream> tunnel);
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  /// Asking fences: a guest that was not started by then is ended and never will be.
  Task<std::optional<bool>> ever_started(const DomainRef& domain, const Cookie& begun) override;

 private:
  void check_open() const;
  std::shared_ptr<Guest> guest(const DomainRef& domain) const;         ///< Errors: no_domain
  std::shared_ptr<Guest> active_guest(const DomainRef& domain) const;  ///< Errors: invalid_state
  std::shared_ptr<Guest> guest_named(const std::string& name) const;
  void check_no_job(const Guest& guest) const;
  void check_rules(const PhaseCall& call, bool active) const;
  void check_source(const Guest& guest, const PhaseCall& call) const;
  std::shared_ptr<Guest> make_incoming(const PhaseCall& call, std::shared_ptr<Incoming> in);
  Task<Prepared> prepare_incoming(const PhaseCall& call, const Cookie& cookie,
                                  std::unique_ptr<Stream>* tunnel);
  DataAddress address_for(const PhaseCall& call) const;
  std::string listen_here(const PhaseCall& call, const std::shared_ptr<Guest>& guest);
  Task<> listen_for(const PhaseCall& call, const std::shared_ptr<Guest>& guest,
                    std::shared_ptr<Incoming> in);
  Task<> open_ways(const PhaseCall& call, const std::shared_ptr<Guest>& guest,
                   std::shared_ptr<Incoming> in, std::unique_ptr<Stream>* tunnel);
  GuestSpec yet_unknown(const PhaseCall& call);
  Prepared prepare_resume(const PhaseCall& call, const CookieBody& begun);
  void listen_for_disks(const PhaseCall& call, const std::shared_ptr<Guest>& guest);
  std::shared_ptr<OutJob> take_job(Guest& guest, const PhaseCall& call);
  void give_up(Guest& guest, const std::shared_ptr<OutJob>& job);
  bool removes(const PhaseCall& call) const;  ///< the definition at the end
  void end_source(const std::shared_ptr<Guest>& guest, const PhaseCall& call);
  Result<> persist(Guest& guest, const PhaseCall& call, const std::string& xml);
  Task<> run_postcopy(std::shared_ptr<Guest> guest);
  void end_incoming(const std::shared_ptr<Guest>& guest) { world_->end_incoming(host_, guest); }
  Task<> work();  ///< the slow part of a phase: files, processes
  Task<> start_guest(std::shared_ptr<Guest> guest, const PhaseCall& call);
  Task<Cookie> perform_stopped(const PhaseCall& call, const CookieBody& prepared);
  Task<> perform_p2p(PhaseCall call, const std::string& dconnuri);

  std::shared_ptr<World> world_;
  HostState& host_;
  std::string uri_;
  std::uint64_t connection_;
  std::uint64_t incarnation_;
  bool closed_ = false;
  std::shared_ptr<bool> connected_ = std::make_shared<bool>(true);
};

/// The copy of one perform (through the tunnel, if there is one), from the job's start to the guest
/// standing still on the source with everything sent. Errors: remote, cancelled; the guest then
/// runs on.
Task<> copy_guest(World& world, HostState& source, std::shared_ptr<Guest> guest,
                  std::shared_ptr<OutJob> job, const PhaseCall& call, std::uint8_t version,
                  std::unique_ptr<Stream> tunnel);

/// Bytes a second that post-copy's second half may use.
std::uint64_t postcopy_rate(const World& world, const Guest& source, const OutJob& job);

/// Connects a source whose post-copy broke to the destination's new listener. Errors: remote.
Task<> take_up_postcopy(World& world, std::shared_ptr<Guest> guest, std::shared_ptr<OutJob> job,
                        const PhaseCall& call);

/// Post-copy's second half: what is missing comes from the source, while the CPUs run here.
/// Errors: remote; the guest is then on both hosts, and on none.
Task<> feed_postcopy(World& world, std::shared_ptr<Guest> guest);

/// The figures as libvirt's typed fields.
JobStats figures_to_stats(const CopyFigures& figures, JobType type, Micros now, bool statistics);

}  // namespace vmferry::sim
