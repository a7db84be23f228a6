#include "core/drivers/test/data.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace vmferry::sim {

namespace {

constexpr std::size_t kHead = 9, kPayloadMost = 65536;

void put(Bytes& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>(value >> shift));
}
std::uint64_t get(std::span<const std::byte> from, std::size_t at, int bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i)
    value = value << 8 | std::to_integer<std::uint8_t>(from[at + static_cast<std::size_t>(i)]);
  return value;
}

Bytes frame(char kind, std::uint64_t number, std::span<const std::byte> payload) {
  Bytes out;
  out.reserve(kHead + payload.size());
  put(out, static_cast<std::uint8_t>(kind), 1);
  put(out, number, 4);
  put(out, payload.size(), 4);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Bytes deflated(std::span<const std::byte> page, int level) {
  uLongf size = compressBound(page.size());
  Bytes out(size);
  compress2(reinterpret_cast<Bytef*>(out.data()), &size,
            reinterpret_cast<const Bytef*>(page.data()), page.size(), level);
  out.resize(size);
  return out;
}

// Pairs of word number (u16) and word (8 bytes).
Bytes changes(std::span<const std::byte> before, std::span<const std::byte> now) {
  Bytes out;
  for (std::size_t at = 0; at + 8 <= now.size(); at += 8) {
    if (std::memcmp(&before[at], &now[at], 8) == 0) continue;
    put(out, at / 8, 2);
    out.insert(out.end(), now.begin() + static_cast<std::ptrdiff_t>(at),
               now.begin() + static_cast<std::ptrdiff_t>(at) + 8);
  }
  return out;
}

Error damaged(std::string_view what) {
  return {ErrorId::protocol, fmt::format("the migration stream is damaged: {}", what)};
}

Result<> take_page(char kind, std::uint32_t number, std::span<const std::byte> body, Memory& into) {
  const std::uint32_t size = into.shape().page_size;
  if (number >= into.shape().pages) return std::unexpected(damaged("a page beyond the end"));
  if (kind == 'Z' && body.empty()) {
    into.put(number, {});
    return {};
  }
  Bytes page(size);
  if (kind == 'P') {
    if (body.size() != size) return std::unexpected(damaged("a page of another size"));
    std::ranges::copy(body, page.begin());
  } else if (kind == 'C') {
    uLongf got = size;
    const int rc = uncompress(reinterpret_cast<Bytef*>(page.data()), &got,
                              reinterpret_cast<const Bytef*>(body.data()), body.size());
    if (rc != Z_OK || got != size) return std::unexpected(damaged("a page that does not inflate"));
  } else {
    if (kind != 'X' || body.size() % 10 != 0 || into.missing(number))
      return std::unexpected(damaged("changes of a page that is not here"));
    std::ranges::copy(into.page(number), page.begin());
    for (std::size_t at = 0; at < body.size(); at += 10) {
      const std::size_t word = get(body, at, 2) * 8;
      if (word + 8 > size) return std::unexpected(damaged("a change beyond its page"));
      std::copy_n(body.begin() + static_cast<std::ptrdiff_t>(at) + 2, 8,
                  page.begin() + static_cast<std::ptrdiff_t>(word));
    }
  }
  into.put(number, page);
  return {};
}

Result<> take_header(std::uint32_t pages, std::span<const std::byte> body, Guest& guest,
                     const Incoming& in) {
  if (body.size() != 5) return std::unexpected(damaged("its header"));
  const MemoryShape& shape = guest.memory.shape();
  if (get(body, 0, 1) != in.version)
    return fail(ErrorId::protocol, "the migration stream has another version than was agreed");
  if (pages != shape.pages || get(body, 1, 4) != shape.page_size)
    return fail(ErrorId::protocol, "the guest's memory has another size on the source");
  return {};
}

Result<> take(char kind, std::uint32_t number, std::span<const std::byte> body, Guest& guest,
              Incoming& in) {
  if (kind == 'H') return take_header(number, body, guest, in);
  if (in.frames == 0) return std::unexpected(damaged("it does not begin with a header"));
  if (kind == 'D') return {};
  if (kind == 'E') {
    if (body.size() != 8) return std::unexpected(damaged("its end"));
    if (!in.postcopy) guest.memory.set_writes(get(body, 0, 8));
    if (guest.memory.missing_pages() > 0) return std::unexpected(damaged("pages are missing"));
    in.loaded = true;
    return {};
  }
  if (kind == 'M' && body.empty() && number < guest.memory.shape().pages) {
    guest.memory.drop(number);
    return {};
  }
  if (kind == 'S') {
    if (body.size() != 8 || in.version < 3) return std::unexpected(damaged("its switch"));
    guest.memory.set_writes(get(body, 0, 8));
    in.postcopy = true;
    return {};
  }
  // Post-copy: what the CPUs here have written since is newer than what was on its way.
  if (in.postcopy && number < guest.memory.shape().pages && !guest.memory.missing(number))
    return {};
  return take_page(kind, number, body, guest.memory);
}

}  // namespace

Bytes Packer::header(const MemoryShape& shape, std::uint8_t version) const {
  Bytes body;
  put(body, version, 1);
  put(body, shape.page_size, 4);
  return frame('H', shape.pages, body);
}

Bytes Packer::page(const Memory& memory, std::uint32_t number, CopyFigures& figures) {
  const auto content = memory.page(number);
  if (memory.is_zero(number)) {
    ++figures.zero_pages;
    return frame('Z', number, {});
  }
  if (method_ == Method::zlib) {
    const Bytes small = deflated(content, level_);
    if (small.size() < content.size()) {
      ++figures.compressed_pages;
      figures.compressed_bytes += small.size();
      return frame('C', number, small);
    }
  }
  if (method_ == Method::xbzrle) {
    const auto known = sent_.find(number);
    if (known != sent_.end()) {
      const Bytes delta = changes(known->second, content);
      known->second.assign(content.begin(), content.end());
      if (delta.size() < content.size()) {
        ++figures.compressed_pages;
        figures.compressed_bytes += delta.size();
        return frame('X', number, delta);
      }
    } else {
      ++figures.cache_misses;
      if (sent_.size() < room_) sent_.emplace(number, Bytes(content.begin(), content.end()));
    }
  }
  ++figures.normal_pages;
  return frame('P', number, content);
}

Bytes Packer::end(std::uint64_t writes) const {
  Bytes body;
  put(body, writes, 8);
  return frame('E', 0, body);
}

Bytes Packer::mark(char kind, std::uint32_t number) const { return frame(kind, number, {}); }

std::uint64_t weight(std::span<const std::byte> bytes, const MemoryShape& shape,
                     std::uint64_t page_bytes) {
  const std::uint64_t payload = bytes.size() - kHead;
  return 8 + payload * page_bytes / std::max(shape.page_size, 1U);
}

std::size_t whole_frames(std::span<const std::byte> bytes) {
  std::size_t at = 0;
  while (bytes.size() - at >= kHead) {
    const std::size_t length = get(bytes, at + 5, 4);
    if (length > kPayloadMost) return bytes.size();  // unpack() refuses it
    if (bytes.size() - at - kHead < length) break;
    at += kHead + length;
  }
  return at;
}

Result<> unpack(std::span<const std::byte> frames, Guest& guest, Incoming& in) {
  while (!frames.empty()) {
    if (frames.size() < kHead) return std::unexpected(damaged("a frame is cut short"));
    const std::size_t length = get(frames, 5, 4);
    if (length > kPayloadMost || length > frames.size() - kHead)
      return std::unexpected(damaged("a frame is longer than it may be"));
    const char kind = static_cast<char>(std::to_integer<std::uint8_t>(frames[0]));
    const auto body = frames.subspan(kHead, length);
    Result<> taken = take(kind, static_cast<std::uint32_t>(get(frames, 1, 4)), body, guest, in);
    if (!taken) return taken;
    ++in.frames;
    in.bytes += kHead + length;
    frames = frames.subspan(kHead + length);
  }
  return {};
}

}  // namespace vmferry::sim
