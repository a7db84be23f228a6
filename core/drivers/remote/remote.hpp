#pragma once
// Any libvirt daemon (libvirtd, virtqemud, virtxend, …), and whatever else speaks its RPC.
#include <memory>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"
#include "core/host/host.hpp"

namespace vmferry {

struct RemoteOptions {
  std::string name;  ///< what CONNECT_OPEN is told, e.g. qemu:///system; empty: its choice
  bool read_only = false;
  std::string auth;  ///< the URI's auth= parameter
  Micros keepalive_interval = std::chrono::seconds(5);
  int keepalive_count = 6;
};

/// Speaks to the daemon at the other end of the stream: authentication, keepalive, open.
/// Errors: auth_needed (naming what is asked for), connect_protocol, or what the daemon says.
Task<std::unique_ptr<Host>> open_remote(std::unique_ptr<Stream> stream, Clock& clock,
                                        RemoteOptions options);

}  // namespace vmferry
