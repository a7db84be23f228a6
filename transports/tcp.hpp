#pragma once
#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"

namespace vmferry {

struct TcpOptions {
  Micros per_address = std::chrono::seconds(10);
  Micros dead_after = std::chrono::seconds(60);  ///< unacknowledged data or probes: broken
};

/// Resolves `host` and tries every address in turn. The connection does not delay small writes
/// and notices a dead peer (keepalive, TCP_USER_TIMEOUT). Errors: connect_failed, connect_timeout;
/// the message tells what each address answered.
Task<asio::ip::tcp::socket> connect_tcp_socket(Clock& clock, std::string host, std::uint16_t port,
                                               TcpOptions options = {});
Task<std::unique_ptr<Stream>> connect_tcp(Clock& clock, std::string host, std::uint16_t port,
                                          TcpOptions options = {});

/// Sets what connect_tcp sets; for accepted sockets.
void tune(asio::ip::tcp::socket& socket, Micros dead_after);

}  // namespace vmferry
