#pragma once
// Migration data of simulated hosts over real sockets: one connection, one way.
#include "core/async/clock.hpp"
#include "core/base/config.hpp"
#include "core/drivers/test/network.hpp"

namespace vmferry::cli {

/// Listens on ports 49152 to 49215, as libvirt does, unless told otherwise. Without a host: on the
/// address by which an ssh client reached us (SSH_CONNECTION), else on loopback. `clock` outlives
/// it.
std::shared_ptr<sim::DataNetwork> data_network(Clock& clock, const Environment& environment);

}  // namespace vmferry::cli
