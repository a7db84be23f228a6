// The connection itself: features, identity, what the host says of itself.
#include "core/async/race.hpp"
#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/connect.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/node.hpp"

namespace vmferry {

using namespace proto;

namespace {

// A daemon that opened "qemu:///system" says that its driver is QEMU, and so on.
std::string driver_named_by(std::string_view open_name) {
  if (open_name.starts_with("qemu:")) return "QEMU";
  return open_name.starts_with("ch:") ? "CH" : "";
}

}  // namespace

RemoteHost::RemoteHost(std::unique_ptr<rpc::Client> client, std::string_view name)
    : client_(std::move(client)), events_(listen(*client_)), driver_(driver_named_by(name)) {}

Task<bool> RemoteHost::supports(Feature feature) {
  const auto known = known_features_.find(feature);
  if (known != known_features_.end()) co_return known->second;
  const BoolRet ret = co_await client_->call<ConnectSupportsFeature>({feature});
  known_features_[feature] = ret.value;
  co_return ret.value;
}

Task<bool> RemoteHost::supports_if(bool needed, Feature feature) {
  if (!needed) co_return false;
  const bool yes = co_await supports(feature);
  co_return yes;
}

Task<HostFeatures> RemoteHost::older_protocols() {
  HostFeatures f;
  Task<std::pair<bool, bool>> first =
      both(supports(Feature::migration_v3), supports(Feature::migration_v2));
  Task<std::pair<bool, bool>> second =
      both(supports(Feature::migration_v1), supports(Feature::xml_migratable));
  const auto [newer, older] = co_await both(std::move(first), std::move(second));
  std::tie(f.v3, f.v2) = newer;
  std::tie(f.v1, f.xml_migratable) = older;
  co_return f;
}

// The questions that matter most of the time in one flight; the older protocols are asked for only
// where the newest is missing.
Task<HostFeatures> RemoteHost::features() {
  HostBrief all = co_await brief({.p2p = true, .direct = true, .offline = true, .release = false});
  co_return all.features;
}

Task<std::string> RemoteHost::driver() {
  if (!driver_.empty()) co_return driver_;
  TextRet ret = co_await client_->call<ConnectGetType>({});
  driver_ = std::move(ret.text.v);
  co_return driver_;
}

Task<std::string> RemoteHost::hostname() {
  if (!hostname_.empty()) co_return hostname_;
  TextRet ret = co_await client_->call<ConnectGetHostname>({});
  hostname_ = std::move(ret.text.v);
  co_return hostname_;
}

Task<std::uint64_t> RemoteHost::library_version(bool needed) {
  if (!needed || library_version_ != 0) co_return library_version_;
  const U64Ret ret = co_await client_->call<ConnectGetLibVersion>({});
  library_version_ = ret.value;
  co_return library_version_;
}

// Together with look_up() this is one flight of four calls for a qemu host and a plain request.
// Where the driver's name does not tell, everything is asked.
Task<HostBrief> RemoteHost::brief(HostNeeds needs) {
  const bool qemu = driver_ == "QEMU";
  Task<std::pair<bool, std::string>> basics = both(supports(Feature::migration_params), hostname());
  Task<std::pair<bool, bool>> ways = both(supports_if(needs.p2p, Feature::migration_p2p),
                                          supports_if(needs.offline, Feature::migration_offline));
  // qemu could protect a guest (libvirt 0.9.4) before it knew parameters (1.1.0).
  Task<std::pair<bool, bool>> more = both(supports_if(needs.direct, Feature::migration_direct),
                                          supports_if(!qemu, Feature::change_protection));
  Task<std::pair<std::string, std::uint64_t>> identity =
      both(driver(), library_version(needs.release || !qemu));
  auto [known, who] = co_await both(both(std::move(basics), both(std::move(ways), std::move(more))),
                                    std::move(identity));
  HostBrief brief;
  HostFeatures& f = brief.features;
  f.v3_params = known.first.first;
  f.v3 = f.v2 = f.v3_params;
  if (!f.v3_params) {
    f = co_await older_protocols();
  }
  std::tie(f.p2p, f.offline) = known.second.first;
  std::tie(f.direct, f.change_protection) = known.second.second;
  if (qemu) f.change_protection = f.v3_params;
  f.events = true;
  brief.identity.driver = std::move(who.first);
  brief.identity.hostname = std::move(known.first.second);
  brief.identity.library_version = who.second;
  co_return brief;
}

Task<HostIdentity> RemoteHost::identity() {
  HostIdentity id;
  Task<std::pair<std::string, std::string>> names = both(driver(), hostname());
  Task<std::pair<TextRet, Result<U64Ret>>> more =
      both(client_->call<ConnectGetUri>({}), settle(client_->call<ConnectGetVersion>({})));
  auto [known, rest] =
      co_await both(both(std::move(names), library_version(true)), std::move(more));
  std::tie(id.driver, id.hostname) = std::move(known.first);
  id.library_version = known.second;
  id.uri = std::move(rest.first.text.v);
  if (rest.second) id.hypervisor_version = rest.second->value;  // not every driver has one
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

// A daemon notes in its log, as errors, connections that end without a word or before its answer.
Task<> RemoteHost::close() {
  const rpc::CallOptions brief{.deadline = std::chrono::seconds(3)};
  const auto closed = co_await settle(client_->call<ConnectClose>({}, brief));
  // A daemon, or the helper that ssh runs, may be gone before its answer is: closed is closed.
  if (!closed && closed.error().id != ErrorId::connect_lost) throw closed.error();
}

}  // namespace vmferry
