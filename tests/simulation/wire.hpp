#pragma once
// A client's connection through our own RPC client and server, which breaks at a chosen byte.
#include "tests/simulation/network.hpp"

namespace vmferry::sim {

/// The connections of one side break when `at` bytes have passed, counted over all of them.
struct WireCut {
  std::shared_ptr<std::uint64_t[]> passed;
  std::size_t side = 0;
  std::uint64_t at = UINT64_MAX;
};

/// Errors: connect_*.
Task<std::unique_ptr<Host>> open_wire(Net& network, Party party, std::string host, WireCut cut);

}  // namespace vmferry::sim
