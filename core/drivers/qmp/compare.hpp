#pragma once
#include <string>
#include <vector>

#include "core/qmp/client.hpp"

namespace vmferry::qmp {

/// How the machine of a waiting process differs from that of a running one: RAM blocks, devices,
/// and CPU features that the running guest may use. QEMU itself checks neither devices that are too
/// many nor the CPU. Sentences; empty: nothing was found.
Task<std::vector<std::string>> differences(Client& running, Client& waiting);

/// Versioned machine types of the same family ("pc-i440fx-") that a QEMU knows.
Task<std::vector<std::string>> machine_types(Client& client, const std::string& like);

}  // namespace vmferry::qmp
