#include "core/xdr/buffer.hpp"

#include <algorithm>

namespace vmferry::xdr {

static std::size_t padded(std::size_t n) { return (n + 3) & ~std::size_t{3}; }

void Writer::word(std::uint32_t x) {
  if (why_) return;
  for (int shift = 24; shift >= 0; shift -= 8) out_.push_back(static_cast<std::byte>(x >> shift));
}

void Writer::raw(std::span<const std::byte> bytes) {
  if (why_) return;
  out_.insert(out_.end(), bytes.begin(), bytes.end());
  out_.resize(out_.size() + padded(bytes.size()) - bytes.size());
}

void Writer::blob(std::span<const std::byte> bytes, std::uint32_t max) {
  count(bytes.size(), max);
  raw(bytes);
}

void Writer::count(std::size_t n, std::uint32_t max) {
  if (n > max) fail("more than the protocol allows");
  word(static_cast<std::uint32_t>(n));
}

std::span<const std::byte> Reader::take(std::size_t n) {
  if (n > in_.size()) fail("message too short");
  if (why_) return {};
  const auto taken = in_.first(n);
  in_ = in_.subspan(n);
  return taken;
}

std::uint32_t Reader::word() {
  std::uint32_t x = 0;
  for (const std::byte b : take(4)) x = x << 8 | std::to_integer<std::uint32_t>(b);
  return x;
}

std::span<const std::byte> Reader::raw(std::size_t n) {
  const auto whole = take(padded(n));
  return whole.first(std::min(n, whole.size()));
}

std::uint32_t Reader::count(std::uint32_t max, std::size_t item_min) {
  const std::uint32_t n = word();
  if (n > max)
    fail("count above its limit");
  else if (n > left() / item_min)
    fail("count beyond the end of the message");
  return why_ ? 0 : n;
}

}  // namespace vmferry::xdr
