#pragma once
#include <asio/local/stream_protocol.hpp>
#include <string>

namespace vmferry {

/// The address of a unix socket; "@name" is abstract. Throws uri_invalid when it does not fit.
asio::local::stream_protocol::endpoint local_endpoint(const std::string& path);

}  // namespace vmferry
