#pragma once
// Sizes and durations, as people write and read them.
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.hpp"

namespace vmferry {

inline constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

/// Bytes from "4096", "64M", "64MiB", "64 MiB" (powers of 1024), "64MB" (powers of 1000); K to E,
/// any case; a fraction ("1.5G") too. A number alone counts in `unit` bytes. libvirt writes sizes
/// the same way (virScaleInteger). Errors: usage.
Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit = 1);

/// Three significant digits: "0 B", "512 B", "1.50 KiB", "23.4 MiB", "112 GiB".
std::string human_size(std::uint64_t bytes);
/// As above, "… /s".
std::string human_rate(std::uint64_t bytes_per_second);

/// From "90", "1.5", "300ms", "5s", "2m", "1h30m", "250us"; a number alone counts in `unit`.
/// Errors: usage (malformed, negative, above ten years).
Result<std::chrono::microseconds> parse_duration(
    std::string_view text, std::chrono::microseconds unit = std::chrono::seconds(1));

/// "850 us", "12.3 ms", "4.20 s", "2 min 03 s", "1 h 05 min".
std::string human_duration(std::chrono::microseconds duration);

}  // namespace vmferry
