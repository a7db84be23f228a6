#pragma once
// A client's connection as a Host: every call goes through the Net to a TestHost.
#include "tests/simulation/network.hpp"

namespace vmferry::sim {

/// Both ends of one connection. The daemon's end lives on until it has noticed.
struct Connection {
  Connection(const Executor& ex, std::string host_name, Party by)
      : host(std::move(host_name)), owner(std::move(by)), changed(ex) {}
  std::string host;
  Party owner;
  std::shared_ptr<TestHost> daemon;
  Signal changed;
  bool lost = false;  ///< the client's end knows
  bool late = false;  ///< what was under way still arrives
};

class ClientHost final : public Host {
 public:
  ClientHost(Net& network, std::shared_ptr<Connection> link)
      : network_(network), link_(std::move(link)) {}
  ~ClientHost() override;

  Task<HostFeatures> features() override;
  Task<HostIdentity> identity() override;
  Task<std::string> capabilities() override;
  Task<std::string> domain_capabilities(std::string emulator, std::string arch, std::string machine,
                                        std::string virttype) override;
  Task<NodeInfo> node_info() override;
  Task<std::uint64_t> free_memory() override;
  Task<> close() override;
  bool lost() const override { return link_->lost; }
  Task<DomainRef> find(std::string name_id_or_uuid) override;
  Task<std::vector<ListedDomain>> list(bool active, bool inactive) override;
  Task<DomainStatus> status(const DomainRef& domain) override;
  Task<DomainInfo> info(const DomainRef& domain) override;
  Task<bool> is_persistent(const DomainRef& domain) override;
  Task<bool> autostart(const DomainRef& domain) override;
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
  Task<> set_max_speed(const DomainRef& domain, std::uint64_t mib, bool postcopy) override;
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
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<std::optional<bool>> ever_started(const DomainRef& domain, const Cookie& begun) override;

 private:
  template <class T, class Make>
  Task<T> ask(std::string_view what, Make make);
  template <class Make>
  Task<> tell(std::string_view what, Make make);
  Net& network_;
  std::shared_ptr<Connection> link_;
};

/// The daemon notices that a client went away.
Task<> notice_later(Net& network, std::shared_ptr<Connection> link, Micros after);

}  // namespace vmferry::sim
