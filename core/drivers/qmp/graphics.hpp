#pragma once
// Graphics clients are told where the guest goes. QEMU can tell those of spice
// (client_migrate_info); those of VNC are left to connect again.
#include <string>

#include "core/async/clock.hpp"
#include "core/qmp/client.hpp"

namespace vmferry::qmp {

/// Arguments of client_migrate_info for clients of this QEMU's spice server; null: it has none.
/// `host`: how they reach it if it listens on all addresses.
Task<Json> spice_server(Client& client, std::string host);
/// The same from a URI: spice://HOST:PORT/?tlsPort=N&tlsSubject=TEXT, as libvirt has it.
/// Errors: uri_invalid.
Json spice_target(const std::string& uri);
/// Whether the clients were told; they go when the guest does. Errors: remote, in QEMU's words.
Task<bool> tell_clients(Client& source, Json target);
/// Returns when QEMU has sent its clients away, or after a few seconds. `since`: before the copy.
Task<> clients_left(Client& source, Clock& clock, Cursor since);

}  // namespace vmferry::qmp
