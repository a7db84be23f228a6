// The connection itself: features, identity, what the host says of itself.
#include "core/async/race.hpp"
#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/connect.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/node.hpp"

namespace vmferry {

using namespace proto;

Task<bool> RemoteHost::supports(std::int32_t feature) {
  const BoolRet ret =
      co_await client_->call<ConnectSupportsFeature>({static_cast<Feature>(feature)});
  co_return ret.value;
}

// What chooses the protocol first; the oldest versions are asked for only where both newer ones are
// missing. Events are tried by subscribe(), so they need no question.
Task<HostFeatures> RemoteHost::features() {
  if (features_) co_return *features_;
  const auto ask = [this](Feature f) { return supports(static_cast<std::int32_t>(f)); };
  HostFeatures f;
  auto [newer, more] =
      co_await both(both(ask(Feature::migration_params), ask(Feature::migration_v3)),
                    both(both(ask(Feature::change_protection), ask(Feature::migration_p2p)),
                         both(ask(Feature::migration_offline), ask(Feature::migration_v2))));
  std::tie(f.v3_params, f.v3) = newer;
  std::tie(f.change_protection, f.p2p) = more.first;
  std::tie(f.offline, f.v2) = more.second;
  if (!f.v3_params && !f.v3) {
    auto [old, direct] =
        co_await both(both(ask(Feature::migration_v1), ask(Feature::xml_migratable)),
                      ask(Feature::migration_direct));
    std::tie(f.v1, f.xml_migratable) = old;
    f.direct = direct;
  }
  f.events = true;
  features_ = f;
  co_return f;
}

Task<HostIdentity> RemoteHost::identity() {
  if (identity_) co_return *identity_;
  auto [names, versions] = co_await both(
      both(client_->call<ConnectGetType>({}), client_->call<ConnectGetHostname>({})),
      both(client_->call<ConnectGetLibVersion>({}),
           both(settle(client_->call<ConnectGetVersion>({})), client_->call<ConnectGetUri>({}))));
  const auto& [type, host] = names;
  const auto& [library, others] = versions;
  const auto& [hypervisor, uri] = others;
  HostIdentity id;
  id.driver = type.text.v;
  id.hostname = host.text.v;
  id.uri = uri.text.v;
  id.library_version = library.value;
  if (hypervisor) id.hypervisor_version = hypervisor->value;  // not every driver has one
  identity_ = id;
  co_return id;
}

Task<std::string> RemoteHost::capabilities() {
  TextRet ret = co_await client_->call<ConnectGetCapabilities>({});
  co_return std::move(ret.text.v);
}

static MaybeStr unless_empty(std::string text) {
  return text.empty() ? MaybeStr() : MaybeStr(Str(std::move(text)));
}

Task<std::string> RemoteHost::domain_capabilities(std::string emulator, std::string arch,
                                                  std::string machine, std::string virttype) {
  DomainCapabilitiesArgs args;
  args.emulator = unless_empty(std::move(emulator));
  args.arch = unless_empty(std::move(arch));
  args.machine = unless_empty(std::move(machine));
  args.virttype = unless_empty(std::move(virttype));
  TextRet ret = co_await client_->call<ConnectGetDomainCapabilities>(std::move(args));
  co_return std::move(ret.text.v);
}

Task<NodeInfo> RemoteHost::node_info() {
  const NodeInfoRet ret = co_await client_->call<NodeGetInfo>({});
  co_return NodeInfo{ret.model.v, ret.memory_kib, ret.cpus,  ret.mhz,
                     ret.nodes,   ret.sockets,    ret.cores, ret.threads};
}

Task<std::uint64_t> RemoteHost::free_memory() {
  const U64Ret ret = co_await client_->call<NodeGetFreeMemory>({});
  co_return ret.value;
}

Task<> RemoteHost::close() {
  const rpc::CallOptions brief{.deadline = std::chrono::seconds(3)};
  co_await client_->call<ConnectClose>({}, brief);
}

}  // namespace vmferry
