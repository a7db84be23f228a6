#pragma once
// The simulation's data stream: frames that go one way, from perform to the listener.
//
//   kind u8 | page u32 | length u32 | payload          big-endian
//   'H' header (page: count, payload: version u8, page size u32)   'Z' zero page
//   'P' whole page   'C' page, deflated (zlib)   'X' changed words of a page that was sent before
//   'M' a page that is missing again
//   'D' a piece of a disk (length counts for the link, no payload)   'S' the CPUs go over:
//   post-copy 'E' end: payload is the count of writes executed u64
#include <cstdint>
#include <unordered_map>

#include "core/drivers/test/guest.hpp"

namespace vmferry::sim {

enum class Method : std::uint8_t { none, zlib, xbzrle };

/// Makes frames and remembers what the other side has.
class Packer {
 public:
  Packer(Method method, int level, std::size_t cached_pages)
      : method_(method), level_(level), room_(cached_pages) {}
  Bytes header(const MemoryShape& shape, std::uint8_t version) const;
  Bytes page(const Memory& memory, std::uint32_t number, CopyFigures& figures);
  Bytes end(std::uint64_t writes) const;
  Bytes mark(char kind, std::uint32_t number = 0) const;

 private:
  Method method_;
  int level_;
  std::size_t room_;  // pages that the cache of sent ones may hold
  std::unordered_map<std::uint32_t, Bytes> sent_;
};

/// What the link carries for a frame: it stands for a page of `page_bytes`.
std::uint64_t weight(std::span<const std::byte> frame, const MemoryShape& shape,
                     std::uint64_t page_bytes);

/// How many of these bytes are whole frames; the rest is the beginning of one.
std::size_t whole_frames(std::span<const std::byte> bytes);

/// Takes frames in on the destination. Errors: protocol; the guest then cannot be loaded.
Result<> unpack(std::span<const std::byte> frames, Guest& guest, Incoming& in);

}  // namespace vmferry::sim
