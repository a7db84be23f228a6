#pragma once
#include <map>
#include <optional>

#include "core/drivers/remote/remote.hpp"
#include "core/proto/connect.hpp"
#include "core/rpc/client.hpp"

namespace vmferry {

namespace proto {
struct FinishRet;
}

/// Host over the RPC client: names the arguments, calls, translates.
class RemoteHost final : public Host {
 public:
  /// `name`: what CONNECT_OPEN was told.
  RemoteHost(std::unique_ptr<rpc::Client> client, std::string_view name);
  ~RemoteHost() override;

  Task<HostFeatures> features() override;
  Task<HostIdentity> identity() override;
  Task<HostBrief> brief(HostNeeds needs) override;
  Task<std::string> capabilities() override;
  Task<std::string> domain_capabilities(std::string emulator, std::string arch, std::string machine,
                                        std::string virttype) override;
  Task<NodeInfo> node_info() override;
  Task<std::uint64_t> free_memory() override;
  Task<> close() override;
  bool lost() const override { return client_->dead(); }

  Task<DomainRef> find(std::string name_id_or_uuid) override;
  Task<FoundDomain> look_up(std::string name_id_or_uuid, bool reason) override;
  Task<std::vector<ListedDomain>> list(bool active, bool inactive) override;
  Task<std::vector<ListedDomain>> list_matching(std::uint32_t flags) override;
  Task<bool> has_managed_save(const DomainRef& domain) override;
  Task<DomainExtras> extras(const DomainRef& domain) override;
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
  Task<> shutdown_by(const DomainRef& domain, std::uint32_t modes) override;
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
  Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                       std::optional<std::string> dconnuri) override;
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<Tunnel> prepare_tunnel(const PhaseCall& call, const Cookie& cookie) override;
  ReadyFinish ready_finish(const PhaseCall& call) override;

 private:
  struct Events;  // who listens to which callback
  static std::shared_ptr<Events> listen(rpc::Client& client);
  class Registration;
  Task<proto::FinishRet> finish_call(const PhaseCall& call, const Cookie& cookie, Verdict verdict);
  Task<bool> supports(proto::Feature feature);
  Task<bool> supports_if(bool needed, proto::Feature feature);
  Task<std::string> driver();
  Task<std::string> hostname();
  Task<std::uint64_t> library_version(bool needed);
  Task<HostFeatures> older_protocols();
  Task<JobStats> old_job_stats(const DomainRef& domain);
  Task<std::int32_t> register_event(std::int32_t event_id, const DomainRef& domain);

  std::unique_ptr<rpc::Client> client_;
  std::shared_ptr<Events> events_;
  // What has been answered is not asked again.
  std::map<proto::Feature, bool> known_features_;
  std::string driver_;  ///< "QEMU", "Xen", …; empty until it was asked for
  std::string hostname_;
  std::uint64_t library_version_ = 0;
};

}  // namespace vmferry
