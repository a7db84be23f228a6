#include "core/xml/domain.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/base/units.hpp"

namespace vmferry::xml {

namespace {

constexpr std::size_t kMostDevices = 1024;

Disk read_disk(Node node) {
  Disk disk;
  const Node source = node.at("source");
  disk.device = node.attribute("device").value_or("disk");
  disk.type = node.attribute("type").value_or("file");
  disk.format = node.at("driver").get("type");
  disk.cache = node.at("driver").get("cache");
  disk.target = node.at("target").get("dev");
  disk.bus = node.at("target").get("bus");
  disk.readonly = static_cast<bool>(node.at("readonly"));
  disk.shareable = static_cast<bool>(node.at("shareable"));
  if (disk.type == "network")
    disk.source = source.get("protocol") + ":" + source.get("name");
  else if (disk.type == "volume")
    disk.source = source.get("pool") + "/" + source.get("volume");
  else
    for (const char* name : {"file", "dev", "dir"})
      if (disk.source.empty()) disk.source = source.get(name);
  for (const Node host : source.children("host")) {
    const std::string port = host.get("port");
    disk.hosts.push_back(host.get("name") + (port.empty() ? "" : ":" + port));
  }
  return disk;
}

Interface read_interface(Node node) {
  Interface nic;
  nic.type = node.get("type");
  for (const char* name : {"network", "bridge", "dev"})
    if (nic.source.empty()) nic.source = node.at("source").get(name);
  nic.mac = node.at("mac").get("address");
  nic.model = node.at("model").get("type");
  nic.target = node.at("target").get("dev");
  return nic;
}

// "<memory unit='GiB'>4</memory>": KiB when no unit is given.
std::uint64_t memory_kib(Node node) {
  if (!node) return 0;
  const Result<std::uint64_t> bytes =
      parse_size(node.text() + node.attribute("unit").value_or("KiB"));
  return bytes ? *bytes / kKiB : 0;
}

void read_devices(Node devices, Domain& out) {
  out.emulator = devices.at("emulator").text();
  for (const Node disk : devices.children("disk")) out.disks.push_back(read_disk(disk));
  for (const Node nic : devices.children("interface"))
    out.interfaces.push_back(read_interface(nic));
  for (const Node device : devices.children("hostdev"))
    out.hostdevs.push_back(device.attribute("type").value_or("unknown"));
}

}  // namespace

Result<Domain> read_domain(const Doc& doc) {
  const Node root = doc.root();
  if (root.name() != "domain")
    return fail(ErrorId::xml,
                fmt::format("the XML is a <{}>, not a <domain>", escaped(root.name())));
  Domain out;
  out.type = root.get("type");
  out.name = root.at("name").text();
  if (out.name.empty()) return fail(ErrorId::xml, "the domain has no name");
  out.uuid = parse_uuid(root.at("uuid").text());
  if (root.at("uuid") && !out.uuid)
    return fail(ErrorId::xml, fmt::format("'{}' is no UUID", escaped(root.at("uuid").text(), 64)));
  out.memory_kib = memory_kib(root.at("memory"));
  out.current_memory_kib =
      root.at("currentMemory") ? memory_kib(root.at("currentMemory")) : out.memory_kib;
  out.vcpus = parse_number<std::uint32_t>(root.at("vcpu").text()).value_or(1);
  out.arch = root.at("os/type").get("arch");
  out.machine = root.at("os/type").get("machine");
  out.os_type = root.at("os/type").text();
  out.cpu_mode = root.at("cpu").get("mode");
  out.cpu_model = root.at("cpu/model").text();
  for (const Node feature : root.at("cpu").children("feature"))
    if (const std::string policy = feature.get("policy"); policy == "require" || policy == "force")
      out.cpu_required.push_back(feature.get("name"));
  out.hugepages = static_cast<bool>(root.at("memoryBacking/hugepages"));
  read_devices(root.at("devices"), out);
  if (std::max(out.disks.size(), out.interfaces.size()) > kMostDevices)
    return fail(ErrorId::xml, fmt::format("more than {} devices of a kind", kMostDevices));
  return out;
}

Result<Domain> parse_domain(std::string_view text) {
  const Result<Doc> doc = Doc::parse(text);
  if (!doc) return std::unexpected(doc.error());
  return read_domain(*doc);
}

}  // namespace vmferry::xml
