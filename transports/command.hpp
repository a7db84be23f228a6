#pragma once
#include <asio/generic/stream_protocol.hpp>
#include <memory>
#include <string>
#include <vector>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"

namespace vmferry {

/// Starts a program and makes a Stream of its standard input and output. It runs in a process group
/// of its own (a Ctrl-C meant for us does not hit it), with no other descriptor of ours. The last
/// 8 KiB of its standard error and its exit status are what explain_end() tells. It is ended
/// (SIGTERM, then SIGKILL) and reaped when the Stream closes. `argv[0]` is looked up in PATH.
/// `clock` must outlive the Stream. Errors: connect_failed when it cannot be started, or
/// (from the Stream) when it ends before it sent a byte.
std::unique_ptr<Stream> run_command(const Executor& ex, Clock& clock,
                                    const std::vector<std::string>& argv);

/// The same for one who needs the socket itself: `socket` leads to the program, `process` ends it
/// and tells why it ended.
struct ProgramSocket {
  asio::generic::stream_protocol::socket socket;
  std::unique_ptr<Stream> process;
};
ProgramSocket run_for_socket(const Executor& ex, Clock& clock,
                             const std::vector<std::string>& argv);

}  // namespace vmferry
