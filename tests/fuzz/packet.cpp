// Packets put together from any bytes in any pieces; what comes out packs to the same bytes again.
#include <cstdint>
#include <cstdlib>

#include "core/rpc/client.hpp"

using namespace vmferry;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = data[0] + std::size_t{1};
  const auto bytes = std::as_bytes(std::span(data, size).subspan(1));
  rpc::Assembler assembler;
  std::size_t at = 0, consumed = 0;
  while (at < bytes.size()) {
    const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
    at += part.size();
    assembler.feed(part);
    for (;;) {
      const auto packet = assembler.next();
      if (!packet) return 0;
      if (!*packet) break;
      const auto again = rpc::pack((*packet)->header, (*packet)->payload);
      if (!again) std::abort();
      if (!std::ranges::equal(*again, bytes.subspan(consumed, again->size()))) std::abort();
      consumed += again->size();
      (void)rpc::to_error((*packet)->payload);
    }
  }
  return 0;
}
