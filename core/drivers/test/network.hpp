#pragma once
// Real connections for migration data, between simulated hosts of two processes. Whoever joins
// drivers and transports implements it; without one, data moves within the process only.
#include <cstdint>
#include <memory>
#include <string>

#include "core/async/stream.hpp"

namespace vmferry::sim {

/// Takes connections until it is closed or destroyed.
class DataListener {
 public:
  virtual ~DataListener() = default;
  virtual Task<std::unique_ptr<Stream>> accept() = 0;  ///< Errors: io
  virtual std::string uri() const = 0;                 ///< tcp://HOST:PORT or unix:///PATH
  virtual void close() noexcept = 0;                   ///< wakes accept()
};

/// Where a destination listens. An empty host: where the host says that others reach it, else
/// loopback. Port 0: any free one.
struct DataAddress {
  std::string scheme = "tcp";  ///< or unix, with the path as host
  std::string host;
  std::uint16_t port = 0;
};

class DataNetwork {
 public:
  virtual ~DataNetwork() = default;
  /// Errors: io, unsupported.
  virtual Task<std::unique_ptr<DataListener>> listen(DataAddress address) = 0;
  /// Errors: connect_failed, connect_timeout, unsupported.
  virtual Task<std::unique_ptr<Stream>> dial(std::string uri) = 0;
};

}  // namespace vmferry::sim
