#pragma once
// The few questions that we ask of a domain's XML (https://libvirt.org/formatdomain.html).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/host/domain.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::xml {

struct Disk {
  std::string device;  ///< "disk", "cdrom", …
  std::string type;    ///< of the source: "file", "block", "network", "volume", …
  /// Path, device, pool/volume, or protocol:name; empty: no medium.
  std::string source;
  std::string format;  ///< "qcow2", "raw", …
  std::string target;  ///< "vda"
  std::string bus;
  std::string cache;               ///< "none", "writeback", …; empty: the default
  std::vector<std::string> hosts;  ///< of a network disk, host or host:port
  bool readonly = false, shareable = false;
};

struct Interface {
  std::string type;    ///< "network", "bridge", "direct", "user", "hostdev", …
  std::string source;  ///< the network's, bridge's or device's name
  std::string mac, model, target;
};

struct Domain {
  std::string type;  ///< "kvm", "qemu", "xen", …
  std::string name;
  std::optional<Uuid> uuid;
  std::uint64_t memory_kib = 0;
  std::uint64_t current_memory_kib = 0;
  std::uint32_t vcpus = 0;
  std::string arch, machine, os_type, emulator;
  std::string cpu_mode, cpu_model;
  std::vector<std::string> cpu_required;  ///< features with policy="require" or "force"
  std::vector<Disk> disks;
  std::vector<Interface> interfaces;
  std::vector<std::string> hostdevs;  ///< type of each: "pci", "usb", "mdev", …
  bool hugepages = false;
};

/// Errors: xml (malformed, not a <domain>, no name, or more than 1024 disks or interfaces).
Result<Domain> parse_domain(std::string_view text);
Result<Domain> read_domain(const Doc& doc);

}  // namespace vmferry::xml
