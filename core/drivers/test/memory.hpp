#pragma once
// A simulated guest's memory. What it holds is a function of the guest's seed and of how many
// writes its CPUs have done, so that anybody can tell later whether a copy is exact.
#include <cstdint>
#include <span>
#include <vector>

#include "core/async/stream.hpp"

namespace vmferry::sim {

struct MemoryShape {
  std::uint32_t pages = 1024;     ///< real pages, 1..65536
  std::uint32_t page_size = 256;  ///< bytes really held, a multiple of 8, 8..4096
  std::uint32_t hot = 256;        ///< the CPUs write to the first `hot` pages
  std::uint64_t seed = 1;
  bool operator==(const MemoryShape&) const = default;
};

class Memory {
 public:
  Memory() = default;
  /// As a guest finds it when it is started: text in most pages, a third of them zero.
  static Memory fresh(const MemoryShape& shape);
  /// What an incoming guest has: nothing, every page missing.
  static Memory empty(const MemoryShape& shape);

  const MemoryShape& shape() const { return shape_; }
  std::uint64_t writes() const { return writes_; }
  void set_writes(std::uint64_t writes) { writes_ = writes; }
  std::uint32_t next_page() const;  ///< the page that the next write goes to
  void write();                     ///< one write of the CPUs
  void write_until(std::uint64_t count);

  std::span<const std::byte> page(std::uint32_t number) const;
  bool is_zero(std::uint32_t number) const;
  bool missing(std::uint32_t number) const { return missing_[number]; }
  std::uint32_t missing_pages() const { return missing_count_; }
  /// A page that came from the source; `content` has page_size bytes, or none for a zero page.
  void put(std::uint32_t number, std::span<const std::byte> content);

  void drop(std::uint32_t number);  ///< it is missing from now on

  /// Dirty logging: since start_log() or the last take_dirty().
  void start_log();
  std::uint32_t dirty_pages() const { return dirty_count_; }
  std::vector<std::uint32_t> take_dirty();
  bool same_content(const Memory& other) const { return bytes_ == other.bytes_; }
  void flip_bit(std::uint32_t number) {
    bytes_[std::size_t{number} * shape_.page_size] ^= std::byte{1};
  }

 private:
  std::uint64_t draw() const;
  MemoryShape shape_;
  std::vector<std::byte> bytes_;
  std::vector<bool> dirty_, missing_;
  std::uint32_t dirty_count_ = 0, missing_count_ = 0;
  std::uint64_t writes_ = 0;
};

std::uint64_t mix(std::uint64_t x);  ///< splitmix64's finaliser (public domain, S. Vigna)

}  // namespace vmferry::sim
