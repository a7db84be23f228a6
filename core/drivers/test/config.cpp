// Guests and worlds from XML.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/text.hpp"
#include "core/drivers/test/world.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::sim {

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostHeld = kGiB / 2;

std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  for (const char c : text) seed = mix(seed ^ static_cast<unsigned char>(c));
  return seed;
}

Uuid uuid_for(std::string_view name, std::uint64_t seed) {
  Uuid uuid;
  for (std::size_t i = 0; i < 16; ++i)
    uuid.bytes[i] = static_cast<std::byte>(hash(name, seed + i / 8) >> i % 8 * 8);
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

// A bounded number from an attribute; absent: what is there already.
template <class T>
Result<> read(const xml::Node& node, const char* attribute, T low, T high, T& into) {
  const auto text = node.attribute(attribute);
  if (!text) return {};
  const auto value = parse_number<T>(*text);
  if (!value || *value < low || *value > high)
    return fail(ErrorId::xml, fmt::format("<{} {}=\"{}\">: not a number from {} to {}", node.name(),
                                          attribute, escaped(*text, 64), low, high));
  into = *value;
  return {};
}

Result<> read_simulation(const xml::Node& sim, GuestSpec& spec, std::uint64_t& disk_bytes) {
  MemoryShape& shape = spec.shape;
  for (const Result<>& one :
       {read<std::uint64_t>(sim, "dirty-rate", 0, 10000000, spec.dirty_rate),
        read<std::uint32_t>(sim, "pages", 1, 65536, shape.pages),
        read<std::uint32_t>(sim, "page-size", 8, 4096, shape.page_size),
        read<std::uint32_t>(sim, "hot", 1, 65536, shape.hot),
        read<std::uint64_t>(sim, "seed", 0, UINT64_MAX, shape.seed),
        read<std::uint64_t>(sim, "disk-size", 0, std::uint64_t{1} << 50, disk_bytes)})
    if (!one) return one;
  shape.page_size -= shape.page_size % 8;
  return {};
}

std::string example(std::string_view name, std::uint64_t mib, std::uint32_t vcpus,
                    std::uint64_t dirty_rate) {
  return fmt::format(
      "<domain type='test'><name>{}</name><memory unit='MiB'>{}</memory><vcpu>{}</vcpu>"
      "<os><type arch='x86_64' machine='sim-1.0'>hvm</type></os>"
      "<metadata><sim:guest xmlns:sim='urn:vmferry:sim' dirty-rate='{}'/></metadata>"
      "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
      "<source file='/shared/{}.qcow2'/><target dev='vda' bus='virtio'/></disk>"
      "<interface type='network'><source network='default'/><model type='virtio'/></interface>"
      "</devices></domain>",
      name, mib, vcpus, dirty_rate, name);
}

Result<> read_host(const xml::Node& node, HostSpec& host) {
  host.name = node.get("name");
  if (host.name.empty()) return fail(ErrorId::xml, "a <host> has no name");
  host.driver = node.attribute("driver").value_or(host.driver);
  if (!find_rules(host.driver))
    return fail(ErrorId::xml,
                "there are no rules for the driver '" + escaped(host.driver, 64) + "'");
  host.cpu_model = node.attribute("cpu-model").value_or(host.cpu_model);
  host.storage = node.attribute("storage").value_or(host.storage);
  const std::string protocol = node.attribute("protocol").value_or("3-params");
  static constexpr std::string_view protocols[] = {"1", "2", "3", "3-params"};
  const auto version = std::ranges::find(protocols, protocol);
  if (version == std::end(protocols))
    return fail(ErrorId::xml, "<host protocol>: neither 1, 2, 3 nor 3-params");
  host.protocol = static_cast<Protocol>(version - std::begin(protocols));
  host.record = node.get("record") != "no";
  host.events = node.get("events") != "no";
  host.statistics = node.get("statistics") != "no";
  for (const Result<>& one :
       {read<std::uint64_t>(node, "memory", 1024, std::uint64_t{1} << 40, host.memory_kib),
        read<std::int32_t>(node, "cpus", 1, 4096, host.cpus),
        read<std::int32_t>(node, "cells", 1, 64, host.cells),
        read<std::uint8_t>(node, "lowest-version", 1, kDataVersion, host.lowest),
        read<std::uint8_t>(node, "highest-version", 1, kDataVersion, host.highest)})
    if (!one) return one;
  host.networks.clear();
  for (const xml::Node& network : node.children("network"))
    host.networks.push_back({network.get("name"), network.get("active") != "no"});
  for (const xml::Node& guest : node.children("guest")) {
    const xml::Node domain = guest.at("domain");
    if (!domain) return fail(ErrorId::xml, "a <guest> has no <domain>");
    host.guests.push_back(domain.to_string());
    host.started.push_back(guest.get("state") != "off");
  }
  return {};
}

}  // namespace

namespace {

// What of a guest's XML does not depend on the world's seed.
struct Parsed {
  GuestSpec spec;
  bool seeded = false;  // the seed of the memory is said
  bool named = false;   // its UUID is said
};

Result<Parsed> parse_afresh(std::string_view text, std::uint64_t seed) {
  Result<xml::Doc> doc = xml::Doc::parse(text);
  if (!doc) return std::unexpected(std::move(doc).error());
  Result<xml::Domain> domain = xml::read_domain(*doc);
  if (!domain) return std::unexpected(std::move(domain).error());
  if (domain->memory_kib == 0) return fail(ErrorId::xml, "the domain has no <memory>");
  GuestSpec spec;
  spec.name = domain->name;
  spec.uuid = domain->uuid.value_or(uuid_for(spec.name, seed));
  spec.memory_kib = domain->memory_kib;
  spec.vcpus = std::max(domain->vcpus, 1U);
  std::uint64_t disk_bytes = kGiB;
  bool seeded = false;
  if (const xml::Node sim = doc->root().at("metadata/guest")) {
    const Result<> read = read_simulation(sim, spec, disk_bytes);
    if (!read) return std::unexpected(read.error());
    seeded = sim.attribute("seed").has_value();
  }
  for (const xml::Disk& disk : domain->disks)
    spec.disks.push_back({disk.target, disk.source, disk.cache, disk_bytes,
                          disk.readonly || disk.device == "cdrom"});
  xml::Node root = doc->root();
  root.unset("id");
  if (!domain->uuid) root.add("uuid").set_text(to_string(spec.uuid));
  spec.xml = doc->to_string();
  return Parsed{std::move(spec), seeded, domain->uuid.has_value()};
}

// A migration reads the same document several times, and a simulation a million times.
constexpr std::size_t kRemembered = 16;
constexpr std::size_t kRememberedBytes = 16384;

}  // namespace

Result<GuestSpec> parse_guest(std::string_view text, std::uint64_t seed) {
  static thread_local std::vector<std::pair<std::string, Parsed>> remembered;
  const auto known = std::ranges::find(remembered, text,
                                       [](const auto& r) -> std::string_view { return r.first; });
  Parsed parsed;
  if (known != remembered.end()) {
    parsed = known->second;
  } else {
    Result<Parsed> fresh = parse_afresh(text, seed);
    if (!fresh) return std::unexpected(std::move(fresh).error());
    parsed = *std::move(fresh);
    // Without a UUID the seed makes one.
    const bool lasting = parsed.named && text.size() <= kRememberedBytes;
    if (lasting && remembered.size() >= kRemembered) remembered.erase(remembered.begin());
    if (lasting) remembered.emplace_back(text, parsed);
  }
  if (!parsed.seeded) parsed.spec.shape.seed = hash(to_string(parsed.spec.uuid), seed);
  return std::move(parsed.spec);
}

std::string print_guest(const GuestSpec& spec, const std::string& name, std::int32_t id) {
  if (id < 0 && name == spec.name) return spec.xml;
  Result<xml::Doc> doc = xml::Doc::parse(spec.xml);
  if (!doc) return spec.xml;
  if (id >= 0) doc->root().set("id", std::to_string(id));
  doc->root().at("name").set_text(name);
  return doc->to_string();
}

// What must hold of all hosts together: names are unique, and the memory that is really held for
// guests has a limit.
static Result<> check_whole(const WorldSpec& world) {
  std::set<std::string> hosts;
  std::uint64_t held = 0;
  for (const HostSpec& host : world.hosts) {
    if (!hosts.insert(host.name).second)
      return fail(ErrorId::xml, fmt::format("two hosts are named '{}'", escaped(host.name, 64)));
    if (host.lowest > host.highest)
      return fail(ErrorId::xml, "a host's lowest-version is above its highest-version");
    std::set<std::string> names;
    std::set<Uuid> uuids;
    for (const std::string& xml : host.guests) {
      const Result<GuestSpec> guest = parse_guest(xml, world.seed);
      if (!guest) return std::unexpected(guest.error());
      if (!names.insert(guest->name).second || !uuids.insert(guest->uuid).second)
        return fail(ErrorId::xml, fmt::format("host '{}' has two guests named '{}', or of one UUID",
                                              escaped(host.name, 64), escaped(guest->name, 64)));
      held += std::uint64_t{guest->shape.pages} * guest->shape.page_size;
    }
  }
  if (held > kMostHeld)
    return fail(ErrorId::xml, "the guests of this world hold more than 512 MiB of real pages");
  return {};
}

Result<WorldSpec> parse_world(std::string_view text) {
  const Result<xml::Doc> doc = xml::Doc::parse(text);
  if (!doc) return std::unexpected(doc.error());
  const xml::Node root = doc->root();
  if (root.name() != "world") return fail(ErrorId::xml, "the root element is not <world>");
  WorldSpec world;
  std::uint64_t latency_us = 200;
  std::uint64_t mib = 400;
  std::uint64_t stream_mib = 250;
  const xml::Node link = root.at("link");
  for (const Result<>& one : {read<std::uint64_t>(root, "seed", 0, UINT64_MAX, world.seed),
                              read<std::uint64_t>(link, "latency-us", 0, 10000000, latency_us),
                              read<std::uint64_t>(link, "bandwidth", 1, 1000000, mib),
                              read<std::uint64_t>(link, "stream", 1, 1000000, stream_mib)})
    if (!one) return std::unexpected(one.error());
  world.link.latency = Micros(static_cast<std::int64_t>(latency_us));
  world.link.bytes_per_s = mib << 20;
  world.link.stream_bytes_per_s = stream_mib << 20;
  const auto hosts = root.children("host");
  if (hosts.empty() || hosts.size() > 256)
    return fail(ErrorId::xml, "a <world> has from 1 to 256 hosts");
  for (const xml::Node& node : hosts) {
    const Result<> read = read_host(node, world.hosts.emplace_back());
    if (!read) return std::unexpected(read.error());
  }
  const Result<> sound = check_whole(world);
  if (!sound) return std::unexpected(sound.error());
  return world;
}

WorldSpec default_world() {
  WorldSpec world;
  HostSpec here;
  here.name = "default";
  here.guests = {example("web1", 1024, 2, 100), example("db1", 2048, 4, 40),
                 example("idle1", 512, 1, 10)};
  here.started = {true, true, false};
  HostSpec there;
  there.name = "other";
  world.hosts = {here, there};
  return world;
}

}  // namespace vmferry::sim
