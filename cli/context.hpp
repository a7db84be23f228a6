#pragma once
// Everything a command may touch. Tests make one from a simulated clock, an opener of simulated
// hosts and a sink that keeps what was written.
#include <memory>
#include <string>
#include <string_view>

#include "core/async/clock.hpp"
#include "core/async/signal.hpp"
#include "core/base/config.hpp"
#include "core/host/open.hpp"

namespace vmferry::cli {

enum class Format : std::uint8_t { text, json };

/// Where text goes: the process's own descriptors, or a test's strings.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void out(std::string_view text) = 0;  ///< results; a broken pipe ends output silently
  virtual void err(std::string_view text) = 0;  ///< errors, progress, what happens meanwhile
};

/// What is known of the terminal. Nothing of it holds for a pipe.
struct Terminal {
  bool in = false, out = false, err = false;  ///< which of the three are one
  bool colour = false;                        ///< a terminal, and NO_COLOR is not set
  bool utf8 = false;
  unsigned columns = 80;
};

struct Context {
  Executor executor;
  Clock& clock;
  Stop& stop;   ///< Ctrl-C, SIGTERM: every command that waits or changes something looks at it
  Opener open;  ///< aliases of libvirt.conf are resolved already; see connect()
  Sink& sink;
  Environment environment;
  Terminal terminal;
  Format format = Format::text;
  bool quiet = false;
  std::string uri;  ///< what -c, the environment or libvirt.conf named; empty: look for a host here

  bool json() const { return format == Format::json; }
};

/// The connection to the host in hand. It is closed when the object goes; say goodbye with close().
Task<std::unique_ptr<Host>> connect(Context& context);

/// The URI that connect() would open: context.uri, or the local daemon that is found.
std::string connection_uri(const Context& context);

}  // namespace vmferry::cli
