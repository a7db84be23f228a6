// The richest messages that a peer sends: what decodes must encode, and decode to the same again.
#include <cstdint>
#include <cstdlib>

#include "core/proto/convert.hpp"
#include "core/proto/event.hpp"
#include "core/proto/job.hpp"
#include "core/proto/migrate.hpp"

using namespace vmferry;

template <class T>
static void try_message(std::span<const std::byte> bytes) {
  const auto message = xdr::decode<T>(bytes);
  if (!message) return;
  const auto encoded = xdr::encode(*message);
  if (!encoded) std::abort();
  const auto again = xdr::decode<T>(*encoded);
  if (!again || *xdr::encode(*again) != *encoded) std::abort();
  if constexpr (requires { message->params; }) {
    const Params params = proto::from_wire(message->params.v);
    if (proto::to_wire(params).size() != params.items.size()) std::abort();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try_message<proto::Begin3ParamsArgs>(bytes);
  try_message<proto::Finish3ParamsArgs>(bytes);
  try_message<proto::JobStatsRet>(bytes);
  try_message<proto::JobCompletedBody>(bytes);
  return 0;
}
