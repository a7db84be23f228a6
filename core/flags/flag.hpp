#pragma once
#include <cstdint>
#include <initializer_list>
#include <utility>

namespace vmferry {

/// A migration flag of libvirt (virDomainMigrateFlags, libvirt-domain.h); the value is its bit.
enum class Flag : std::uint8_t {
  live = 0,
  peer2peer = 1,
  tunnelled = 2,
  persist_dest = 3,
  undefine_source = 4,
  paused = 5,
  non_shared_disk = 6,
  non_shared_inc = 7,
  change_protection = 8,
  unsafe = 9,
  offline = 10,
  compressed = 11,
  abort_on_error = 12,
  auto_converge = 13,
  rdma_pin_all = 14,
  postcopy = 15,
  tls = 16,
  parallel = 17,
  non_shared_synchronous_writes = 18,
  postcopy_resume = 19,
  zerocopy = 20,
};
inline constexpr int kFlagCount = 21;

/// Every boolean choice has three values: not said means the driver's own way.
enum class Choice : std::uint8_t { unset, yes, no };

/// A set of flags, as its libvirt bit mask.
class FlagSet {
 public:
  constexpr FlagSet() = default;
  constexpr FlagSet(std::initializer_list<Flag> flags) {
    for (const Flag f : flags) add(f);
  }
  static constexpr FlagSet from_bits(std::uint64_t bits) {
    FlagSet set;
    set.bits_ = bits;
    return set;
  }
  constexpr std::uint64_t bits() const { return bits_; }
  constexpr bool has(Flag f) const { return (bits_ >> std::to_underlying(f) & 1) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr FlagSet& add(Flag f) {
    bits_ |= std::uint64_t{1} << std::to_underlying(f);
    return *this;
  }
  constexpr FlagSet& remove(Flag f) {
    bits_ &= ~(std::uint64_t{1} << std::to_underlying(f));
    return *this;
  }
  constexpr FlagSet with(Flag f) const { return FlagSet(*this).add(f); }
  constexpr FlagSet without(Flag f) const { return FlagSet(*this).remove(f); }
  constexpr bool operator==(const FlagSet&) const = default;

 private:
  std::uint64_t bits_ = 0;
};

}  // namespace vmferry
