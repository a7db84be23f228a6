#pragma once
// The two ends of XDR (RFC 4506): words, padded bytes and counts, each checked against its limit.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmferry::xdr {

using Bytes = std::vector<std::byte>;

/// Appends wire data to `out`. Sticky: after the first error every call does nothing, so that the
/// caller looks at why() once, at the end.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}
  void word(std::uint32_t x);
  void raw(std::span<const std::byte> bytes);                      ///< padded to a multiple of 4
  void blob(std::span<const std::byte> bytes, std::uint32_t max);  ///< length, then raw
  void count(std::size_t n, std::uint32_t max);
  void fail(const char* why) {
    if (!why_) why_ = why;
  }
  const char* why() const { return why_; }  ///< null while all is well

 private:
  Bytes& out_;
  const char* why_ = nullptr;
};

/// Consumes wire data. Sticky too: a failed read gives zeros and empty spans.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  std::uint32_t word();
  std::span<const std::byte> raw(std::size_t n);  ///< n bytes; their padding is skipped
  /// A count of items of at least `item_min` bytes each: never above `max`, and never more than the
  /// bytes that are left can hold, so that nothing is allocated for items that do not exist.
  std::uint32_t count(std::uint32_t max, std::size_t item_min);
  std::size_t left() const { return in_.size(); }
  void fail(const char* why) {
    if (!why_) why_ = why;
    in_ = {};
  }
  const char* why() const { return why_; }

 private:
  std::span<const std::byte> take(std::size_t n);
  std::span<const std::byte> in_;
  const char* why_ = nullptr;
};

}  // namespace vmferry::xdr
