#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/async/task.hpp"

namespace vmferry {

using Bytes = std::vector<std::byte>;

/// A byte stream: unix, tcp, ssh, a command's pipes, or an in-memory pipe. One reader and one
/// writer at a time. Errors: connect_lost when the transport breaks, with what the transport had to
/// say (ssh's or the helper's stderr) in its message.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Task<std::size_t> read_some(std::span<std::byte> into) = 0;  ///< 0 = the peer closed
  virtual Task<> write_all(std::span<const std::byte> from) = 0;
  virtual Task<> finish_writing() = 0;  ///< half-close: the peer reads an end of file
  virtual void close() noexcept = 0;    ///< wakes reader and writer; they fail with connect_lost
  virtual std::string explain_end() { return {}; }  ///< why it ended, as the transport knows it
};

/// Reads exactly into.size() bytes; an early end is connect_lost.
Task<> read_exactly(Stream& stream, std::span<std::byte> into);

/// Two connected in-process ends. `chunk_max` splits every read, to exercise reassembly.
struct PipeEnds {
  std::unique_ptr<Stream> a, b;
};
PipeEnds make_pipe(const Executor& ex, std::size_t chunk_max = SIZE_MAX);

}  // namespace vmferry
