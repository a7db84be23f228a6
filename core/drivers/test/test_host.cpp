#include "core/drivers/test/test_host.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::sim {

Error refusal(ErrorId id, std::int32_t libvirt_code, std::string message) {
  Error error(id, std::move(message));
  error.wire = {libvirt_code, 12};
  return error;
}

TestHost::TestHost(std::shared_ptr<World> world, HostState& host, std::string uri)
    : world_(std::move(world)),
      host_(host),
      uri_(std::move(uri)),
      connection_(world_->new_connection()),
      incarnation_(host.incarnation) {
  if (uri_.empty()) uri_ = "test:///" + host.spec.name;
}

TestHost::~TestHost() { hang_up(); }

void TestHost::hang_up() {
  if (std::exchange(closed_, true)) return;
  *connected_ = false;
  if (incarnation_ == host_.incarnation) world_->connection_closed(host_, connection_);
}

bool TestHost::lost() const { return closed_ || incarnation_ != host_.incarnation; }

void TestHost::check_open() const {
  if (lost()) throw Error(ErrorId::connect_lost, "the simulated daemon closed the connection");
}

Task<> TestHost::close() {
  hang_up();
  co_return;
}

Task<HostFeatures> TestHost::features() {
  check_open();
  HostFeatures f;
  if (!host_.rules->cannot.empty()) co_return f;
  const std::string_view driver = host_.rules->name;
  const bool like_qemu = driver == "qemu" || driver == "test" || driver == "qmp";
  const Protocol newest = host_.spec.protocol;
  f.v3_params = newest == Protocol::v3_params;
  f.v3 = newest >= Protocol::v3 && like_qemu;
  f.v2 = newest >= Protocol::v2 && like_qemu;
  f.v1 = newest == Protocol::v1;
  f.p2p = true;
  f.offline = like_qemu || driver == "vz-2015";
  f.change_protection = like_qemu && newest >= Protocol::v3;
  f.xml_migratable = like_qemu;
  f.events = host_.spec.events;
  co_return f;
}

Task<HostIdentity> TestHost::identity() {
  check_open();
  HostIdentity id;
  id.driver = "TEST";
  if (host_.rules->name != "test") {
    id.driver = std::string(host_.rules->type);
    if (id.driver == "qemu" || id.driver == "qmp" || id.driver == "ch")
      std::ranges::transform(id.driver, id.driver.begin(),
                             [](unsigned char c) { return std::toupper(c); });
    if (id.driver == "xen") id.driver = "Xen";
  }
  id.uri = uri_;
  id.hostname = host_.spec.name;
  id.library_version = libvirt_version(11, 3, 0);
  id.hypervisor_version = libvirt_version(0, 1, 0);
  co_return id;
}

Task<NodeInfo> TestHost::node_info() {
  check_open();
  NodeInfo info;
  info.model = "x86_64";
  info.memory_kib = host_.spec.memory_kib;
  info.cpus = host_.spec.cpus;
  info.mhz = 2600;
  info.nodes = host_.spec.cells;
  info.sockets = 1;
  info.cores = std::max(host_.spec.cpus / std::max(host_.spec.cells, 1), 1);
  info.threads = 1;
  co_return info;
}

Task<std::uint64_t> TestHost::free_memory() {
  check_open();
  std::uint64_t used = 0;
  for (const auto& [uuid, guest] : host_.guests)
    if (guest->active()) used += guest->spec.memory_kib;
  co_return (host_.spec.memory_kib > used ? host_.spec.memory_kib - used : 0) * 1024;
}

std::shared_ptr<Guest> TestHost::guest(const DomainRef& domain) const {
  check_open();
  const auto at = host_.guests.find(domain.uuid);
  if (at == host_.guests.end())
    throw refusal(ErrorId::no_domain, 42,
                  fmt::format("Domain not found: no domain with matching uuid '{}' ({})",
                              to_string(domain.uuid), domain.name));
  return at->second;
}

std::shared_ptr<Guest> TestHost::active_guest(const DomainRef& domain) const {
  auto found = guest(domain);
  if (!found->active())
    throw refusal(ErrorId::invalid_state, 55,
                  "Requested operation is not valid: domain is not running");
  return found;
}

std::shared_ptr<Guest> TestHost::guest_named(const std::string& name) const {
  return host_.named(name);
}

void TestHost::check_no_job(const Guest& guest) const {
  if (guest.out || (guest.in && !guest.in->postcopy))
    throw refusal(ErrorId::invalid_state, 55,
                  "Requested operation is not valid: a migration job is active");
}

Task<DomainRef> TestHost::find(std::string text) {
  check_open();
  if (const auto id = parse_number<std::int32_t>(text))
    for (const auto& [uuid, guest] : host_.guests)
      if (guest->active() && guest->id == *id) co_return guest->ref();
  if (const auto uuid = parse_uuid(text))
    if (const auto at = host_.guests.find(*uuid); at != host_.guests.end())
      co_return at->second->ref();
  const auto named = guest_named(text);
  if (!named)
    throw refusal(ErrorId::no_domain, 42,
                  fmt::format("Domain not found: no domain with matching name '{}'", text));
  co_return named->ref();
}

Task<std::vector<ListedDomain>> TestHost::list(bool active, bool inactive) {
  check_open();
  std::vector<ListedDomain> out;
  for (const auto& [uuid, guest] : host_.guests)
    if (guest->active() ? active : inactive) out.push_back({guest->ref(), guest->status});
  std::ranges::sort(out, {}, [](const ListedDomain& d) { return d.domain.name; });
  co_return out;
}

Task<DomainStatus> TestHost::status(const DomainRef& domain) { co_return guest(domain)->status; }

Task<DomainInfo> TestHost::info(const DomainRef& domain) {
  const auto found = guest(domain);
  if (found->active()) world_->advance(*found);
  co_return DomainInfo{found->status.state, found->spec.memory_kib, found->spec.memory_kib,
                       found->spec.vcpus,
                       static_cast<std::uint64_t>(found->cpu_time.count()) * 1000};
}

Task<bool> TestHost::is_persistent(const DomainRef& domain) { co_return guest(domain)->persistent; }
Task<bool> TestHost::autostart(const DomainRef& domain) { co_return guest(domain)->autostart; }

Task<> TestHost::set_autostart(const DomainRef& domain, bool on) {
  const auto found = guest(domain);
  if (!found->persistent)
    throw refusal(ErrorId::invalid_state, 55, "cannot set autostart for a transient domain");
  found->autostart = on;
  co_return;
}

Task<std::string> TestHost::dump_xml(const DomainRef& domain, std::uint32_t flags) {
  const auto found = guest(domain);
  const bool inactive = (flags & (kXmlInactive | kXmlMigratable)) != 0;
  co_return print_guest(found->spec, found->name, inactive ? -1 : found->id);
}

Task<DomainRef> TestHost::define(std::string xml, DefineFlags) {
  check_open();
  GuestSpec spec = value_or_throw(parse_guest(xml, world_->seed()));
  const auto at = host_.guests.find(spec.uuid);
  const auto named = guest_named(spec.name);
  if (named && named->spec.uuid != spec.uuid)
    throw refusal(ErrorId::exists, 9,
                  fmt::format("domain '{}' already exists with uuid {}", spec.name,
                              to_string(named->spec.uuid)));
  const bool fresh = at == host_.guests.end();
  const auto made = fresh ? std::make_shared<Guest>() : at->second;
  if (!made->active()) {
    made->spec = std::move(spec);
    host_.take(made, made->spec.name);
  }
  made->persistent = true;
  world_->emit_lifecycle(host_, *made, kEventDefined, fresh ? 0 : 1);
  co_return made->ref();
}

Task<> TestHost::undefine(const DomainRef& domain, std::uint32_t) {
  const auto found = guest(domain);
  if (!found->persistent)
    throw refusal(ErrorId::invalid_state, 55, "cannot undefine a transient domain");
  found->persistent = false;
  world_->emit_lifecycle(host_, *found, kEventUndefined, 0);
  world_->forget(host_, *found);
  co_return;
}

Task<> TestHost::start(const DomainRef& domain, std::uint32_t flags) {
  const auto found = guest(domain);
  if (found->active()) throw refusal(ErrorId::invalid_state, 55, "domain is already running");
  world_->boot(host_, *found, (flags & 1) != 0);
  co_return;
}

Task<> TestHost::suspend(const DomainRef& domain) {
  const auto found = active_guest(domain);
  if (found->status.runs()) world_->pause(host_, *found, kPausedUser, 0);
  co_return;
}

Task<> TestHost::resume(const DomainRef& domain) {
  const auto found = active_guest(domain);
  if (found->status.runs()) co_return;
  // Before finish an incoming guest has nothing to run; after the switch a source must not.
  if ((found->in && !found->in->postcopy) || (found->out && found->out->phase != JobPhase::begun))
    throw refusal(ErrorId::invalid_state, 55,
                  "domain is part of a migration and cannot be resumed");
  if (found->status.reason == kPausedPostcopy || found->status.reason == kPausedPostcopyFailed)
    throw refusal(ErrorId::invalid_state, 55, "the guest's memory is on both hosts");
  world_->run(host_, *found, 5, 0);
  co_return;
}

Task<> TestHost::shutdown(const DomainRef& domain) {
  const auto found = active_guest(domain);
  check_no_job(*found);
  world_->stop(host_, *found, 1, 0);
  co_return;
}

Task<> TestHost::destroy(const DomainRef& domain, std::uint32_t) {
  const auto found = active_guest(domain);
  world_->stop(host_, *found, 2, 1);
  co_return;
}

Task<std::string> TestHost::capabilities() {
  check_open();
  xml::Doc doc = xml::Doc::make("capabilities");
  xml::Node host = doc.root().add("host");
  host.add("uuid").set_text(
      "00000000-0000-4000-8000-00" +
      fmt::format("{:010x}", mix(std::hash<std::string>{}(host_.spec.name)) & 0xffffffffff));
  xml::Node cpu = host.add("cpu");
  cpu.add("arch").set_text("x86_64");
  cpu.add("model").set_text(host_.spec.cpu_model);
  xml::Node migration = host.add("migration_features");
  migration.add("live");
  xml::Node transports = migration.add("uri_transports");
  for (const std::string_view scheme : split(host_.rules->uri.schemes, ' '))
    if (!scheme.empty()) transports.add("uri_transport").set_text(std::string(scheme));
  xml::Node cells = host.add("topology").add("cells");
  cells.set("num", std::to_string(host_.spec.cells));
  for (std::int32_t i = 0; i < host_.spec.cells; ++i) {
    xml::Node cell = cells.add("cell");
    cell.set("id", std::to_string(i));
    xml::Node memory = cell.add("memory");
    memory.set("unit", "KiB");
    memory.set_text(
        std::to_string(host_.spec.memory_kib / static_cast<std::uint64_t>(host_.spec.cells)));
  }
  xml::Node guest = doc.root().add("guest");
  guest.add("os_type").set_text("hvm");
  xml::Node arch = guest.add("arch");
  arch.set("name", "x86_64");
  arch.add("wordsize").set_text("64");
  arch.add("emulator").set_text("/usr/bin/simulated");
  arch.add("machine").set_text("sim-1.0");
  arch.add("domain").set("type", "test");
  co_return doc.to_string();
}

Task<std::string> TestHost::domain_capabilities(std::string emulator, std::string arch,
                                                std::string machine, std::string virttype) {
  check_open();
  xml::Doc doc = xml::Doc::make("domainCapabilities");
  const auto either = [](const std::string& said, const char* ours) {
    return said.empty() ? std::string(ours) : said;
  };
  doc.root().add("path").set_text(either(emulator, "/usr/bin/simulated"));
  doc.root().add("domain").set_text(either(virttype, "test"));
  doc.root().add("machine").set_text(either(machine, "sim-1.0"));
  doc.root().add("arch").set_text(either(arch, "x86_64"));
  xml::Node vcpu = doc.root().add("vcpu");
  vcpu.set("max", "255");
  xml::Node mode = doc.root().add("cpu").add("mode");
  mode.set("name", "host-model");
  mode.set("supported", "yes");
  mode.add("model").set_text(host_.spec.cpu_model);
  co_return doc.to_string();
}

}  // namespace vmferry::sim
