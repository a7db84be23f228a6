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

// The questions that matter most of the time in one flight; the older protocols are asked for only
// where the newest is missing.
Task<HostFeatures> RemoteHost::features() {
  if (features_) co_return *features_;
  const auto ask = [this](Feature f) { return supports(static_cast<std::int32_t>(f)); };
  HostFeatures f;
  Task<std::pair<bool, bool>> newer =
      both(ask(Feature::migration_params), ask(Feature::change_protection));
  Task<std::pair<bool, bool>> kinds =
      both(ask(Feature::migration_p2p), ask(Feature::migration_offline));
  const auto [one, two] = co_await both(std::move(newer), std::move(kinds));
  std::tie(f.v3_params, f.change_protection) = one;
  std::tie(f.p2p, f.offline) = two;
  f.v3 = f.v2 = f.v3_params;
  if (!f.v3_params) {
    const auto [v3, v2] = co_await both(ask(Feature::migration_v3), ask(Feature::migration_v2));
    const auto [v1, xml] = co_await both(ask(Feature::migration_v1), ask(Feature::xml_migratable));
    f.v3 = v3;
    f.v2 = v2;
    f.v1 = v1;
    f.xml_migratable = xml;
  }
  f.events = true;
  features_ = f;
  co_return f;
}

Task<HostIdentity> RemoteHost::brief_identity() {
  if (identity_) co_return *identity_;
  Task<std::pair<TextRet, TextRet>> names =
      both(client_->call<ConnectGetType>({}), client_->call<ConnectGetHostname>({}));
  auto [named, library] = co_await both(std::move(names), client_->call<ConnectGetLibVersion>({}));
  HostIdentity id;
  id.driver = driver_ = named.first.text.v;
  id.hostname = named.second.text.v;
  id.library_version = library.value;
  co_return id;
}

Task<HostIdentity> RemoteHost::identity() {
  if (identity_) co_return *identity_;
  Task<std::pair<TextRet, Result<U64Ret>>> more =
      both(client_->call<ConnectGetUri>({}), settle(client_->call<ConnectGetVersion>({})));
  auto [id, rest] = co_await both(brief_identity(), std::move(more));
  auto& [uri, hypervisor] = rest;
  id.uri = uri.text.v;
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
  const auto closed = co_await settle(client_->call<ConnectClose>({}, brief));
  // A daemon, or the helper that ssh runs, may be gone before its answer is: closed is closed.
  if (!closed && closed.error().id != ErrorId::connect_lost) throw closed.error();
}

}  // namespace vmferry
