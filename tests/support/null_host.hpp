#pragma once
#include "core/host/host.hpp"

namespace vmferry {

/// A host that agrees to everything and does nothing: for tests of what stands before it.
class NullHost final : public Host {
 public:
  Task<Tunnel> prepare_tunnel(const PhaseCall&, const Cookie&) override {
    class Nowhere final : public Stream {
     public:
      Task<std::size_t> read_some(std::span<std::byte>) override { co_return 0; }
      Task<> write_all(std::span<const std::byte>) override { co_return; }
      Task<> finish_writing() override { co_return; }
      void close() noexcept override {}
    };
    co_return Tunnel{{}, std::make_unique<Nowhere>()};
  }
  Task<HostFeatures> features() override { co_return HostFeatures{}; }
  Task<HostIdentity> identity() override { co_return HostIdentity{}; }
  Task<std::string> capabilities() override { co_return "<capabilities/>"; }
  Task<std::string> domain_capabilities(std::string, std::string, std::string,
                                        std::string) override {
    co_return "<domainCapabilities/>";
  }
  Task<NodeInfo> node_info() override { co_return NodeInfo{}; }
  Task<std::uint64_t> free_memory() override { co_return 0; }
  Task<> close() override { co_return; }
  bool lost() const override { return false; }

  Task<DomainRef> find(std::string name) override {
    co_return DomainRef{.name = std::move(name), .uuid = {}, .id = 1};
  }
  Task<std::vector<ListedDomain>> list(bool, bool) override {
    co_return std::vector<ListedDomain>(1);
  }
  Task<DomainStatus> status(const DomainRef&) override { co_return DomainStatus{}; }
  Task<DomainInfo> info(const DomainRef&) override { co_return DomainInfo{}; }
  Task<bool> is_persistent(const DomainRef&) override { co_return true; }
  Task<bool> autostart(const DomainRef&) override { co_return false; }
  Task<std::string> dump_xml(const DomainRef& domain, std::uint32_t) override {
    co_return "<domain><name>" + domain.name + "</name></domain>";
  }
  Task<DomainRef> define(std::string, DefineFlags) override { co_return DomainRef{}; }
  Task<> undefine(const DomainRef&, std::uint32_t) override { co_return; }
  Task<> start(const DomainRef&, std::uint32_t) override { co_return; }
  Task<> suspend(const DomainRef&) override { co_return; }
  Task<> resume(const DomainRef&) override { co_return; }
  Task<> shutdown(const DomainRef&) override { co_return; }
  Task<> destroy(const DomainRef&, std::uint32_t) override { co_return; }

  Task<JobStats> job_stats(const DomainRef&, bool, bool) override { co_return JobStats{}; }
  Task<> abort_job(const DomainRef&, bool) override { co_return; }
  Task<> set_max_downtime(const DomainRef&, std::uint64_t) override { co_return; }
  Task<std::uint64_t> max_downtime(const DomainRef&) override { co_return 0; }
  Task<> set_max_speed(const DomainRef&, std::uint64_t, bool) override { co_return; }
  Task<std::uint64_t> max_speed(const DomainRef&, bool) override { co_return 0; }
  Task<> set_compression_cache(const DomainRef&, std::uint64_t) override { co_return; }
  Task<std::uint64_t> compression_cache(const DomainRef&) override { co_return 0; }
  Task<> start_postcopy(const DomainRef&) override { co_return; }
  Task<std::unique_ptr<Subscription>> subscribe(const DomainRef&, OnEvent) override {
    co_return std::make_unique<Subscription>();
  }

  Task<Begun> begin(const PhaseCall& call) override {
    co_return Begun{Cookie(8), "<domain><name>" + call.domain.name + "</name></domain>"};
  }
  Task<Prepared> prepare(const PhaseCall&, const Cookie& cookie) override {
    co_return Prepared{cookie, std::nullopt};
  }
  Task<Cookie> perform(const PhaseCall&, const Cookie& cookie,
                       std::optional<std::string>) override {
    co_return cookie;
  }
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override {
    if (verdict == Verdict::cancelled) co_return Finished{std::nullopt, cookie};
    co_return Finished{call.domain, cookie};
  }
  Task<> confirm(const PhaseCall&, const Cookie&, Verdict) override { co_return; }
};

}  // namespace vmferry
