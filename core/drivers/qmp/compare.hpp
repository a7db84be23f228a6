#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/qmp/client.hpp"

namespace vmferry::qmp {

/// What two processes must have in common to be the same guest's.
struct Shape {
  using Table = std::map<std::string, std::string>;
  Table ram, devices;                        ///< by name
  std::map<std::string, std::uint64_t> cpu;  ///< feature words of the first one; x86 only
};
Task<Shape> shape_of(Client& client);

/// How the machine of a waiting process differs from that of a running one: RAM blocks, devices,
/// and CPU features that the running guest may use. QEMU itself checks neither devices that are too
/// many nor the CPU. Sentences; empty: nothing was found.
std::vector<std::string> differences(const Shape& running, const Shape& waiting);

/// Versioned machine types of the same family ("pc-i440fx-") that a QEMU knows.
Task<std::vector<std::string>> machine_types(Client& client, const std::string& like);

}  // namespace vmferry::qmp
