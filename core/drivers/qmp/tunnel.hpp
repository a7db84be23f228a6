#pragma once
// The guest's state through a stream of ours, instead of from one QEMU straight to the other.
#include <memory>
#include <string>

#include "core/drivers/qmp/copy.hpp"
#include "core/drivers/qmp/qmp.hpp"

namespace vmferry::qmp {

/// The socket through which QEMU sends, or takes, what goes through a tunnel.
inline std::string tunnel_of(const std::string& instance_dir) { return instance_dir + "/tunnel"; }

/// As copy_guest(): QEMU sends to a socket in `instance_dir`, and all of it goes on into `tunnel`,
/// which is finished at the end and closed after a failure. Errors: as copy_guest, with what became
/// of the tunnel.
Task<CopyOutcome> copy_through(Client& client, CopyPlan plan, const QmpEnvironment& around,
                               std::unique_ptr<Stream> tunnel, std::string instance_dir);

}  // namespace vmferry::qmp
