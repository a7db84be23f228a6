#pragma once
// The server's end of a transport: accepts Streams.
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/async/stream.hpp"

namespace vmferry {

/// Who connected. `uid` and `pid` only over a unix socket (SO_PEERCRED).
struct Peer {
  std::string name;  ///< for messages: "uid 0, pid 4711" or "10.0.0.1:51234"
  std::optional<uid_t> uid;
  std::optional<pid_t> pid;
};
struct Accepted {
  std::unique_ptr<Stream> stream;
  Peer peer;
};

/// Errors: io when the system runs out of descriptors or the listener was closed.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Accepted> accept() = 0;      ///< waits without limit: a server's life is that
  virtual std::string address() const = 0;  ///< "/run/x.sock", "[::1]:16509" with the real port
  virtual void close() noexcept = 0;        ///< wakes accept(); removes a unix socket
};

/// A unix socket with that mode from its first moment on. One left over by a process that died is
/// replaced; one that somebody listens on, or another kind of file, is not. Errors: io, naming the
/// path.
std::unique_ptr<Listener> listen_unix(const Executor& ex, const std::string& path,
                                      mode_t mode = 0600);

/// `host` is an address or name of this host, "" all of them; port 0: any free one.
/// Errors: io, connect_failed (the name does not resolve).
Task<std::unique_ptr<Listener>> listen_tcp(std::string host, std::uint16_t port);

/// Descriptors 0 and 1 as one Stream, for a server started by ssh or inetd. Errors: io.
std::unique_ptr<Stream> stdio_stream(const Executor& ex);

}  // namespace vmferry
