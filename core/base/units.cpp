#include "core/base/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/base/text.hpp"

namespace vmferry {
namespace {

using std::chrono::microseconds;

// Digits with at most one point, cut off the front of `text`.
std::optional<double> take_number(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view digits = text.substr(0, end);
  if (end == 0 || end > 24 || digits.front() == '.' || digits.back() == '.') return {};
  double value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + end, value);
  if (error != std::errc() || stop != digits.data() + end) return {};
  text.remove_prefix(end);
  return value;
}

std::optional<std::uint64_t> size_unit(std::string_view suffix) {
  const std::string unit = lower(suffix);
  if (unit == "b" || unit == "byte" || unit == "bytes") return 1;
  static constexpr std::string_view letters = "kmgtpe";
  const std::size_t power = letters.find(unit.empty() ? '?' : unit[0]);
  if (power == std::string_view::npos) return {};
  const std::string rest = unit.substr(1);
  if (!rest.empty() && rest != "ib" && rest != "b") return {};
  const std::uint64_t base = rest == "b" ? 1000 : 1024;
  std::uint64_t factor = base;
  for (std::size_t i = 0; i < power; ++i) factor *= base;
  return factor;
}

std::optional<std::int64_t> duration_unit(std::string_view suffix) {
  if (suffix == "us" || suffix == "µs") return 1;
  if (suffix == "ms") return 1000;
  if (suffix == "s" || suffix == "sec") return 1'000'000;
  if (suffix == "m" || suffix == "min") return 60'000'000;
  if (suffix == "h") return 3'600'000'000;
  if (suffix == "d") return 86'400'000'000;
  return {};
}

std::string three_digits(double value, std::string_view unit) {
  const int places = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, places, unit);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit) {
  std::string_view rest = trimmed(text);
  const std::string shown = escaped(text, 64);
  // Whole numbers never go through a double: 2^53 is not enough for bytes.
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  const auto whole = parse_number<std::uint64_t>(rest.substr(0, digits));
  const auto number = take_number(rest);
  if (!number)
    return fail(ErrorId::usage, fmt::format("\"{}\" is not a size (like 512, 64M, 1.5GiB)", shown));
  rest = trimmed(rest);
  const auto factor = rest.empty() ? std::optional(unit) : size_unit(rest);
  if (!factor)
    return fail(ErrorId::usage, fmt::format("\"{}\" has no unit of size that is known (B, KiB, "
                                            "MiB, GiB, TiB, KB, MB, …)",
                                            shown));
  std::uint64_t bytes = 0;
  const bool fraction = text.find('.') != std::string_view::npos;
  if (!fraction && whole && !__builtin_mul_overflow(*whole, *factor, &bytes)) return bytes;
  const double scaled = *number * static_cast<double>(*factor);
  if (!fraction || scaled >= 18446744073709549568.0)
    return fail(ErrorId::usage, fmt::format("the size \"{}\" is too large", shown));
  return static_cast<std::uint64_t>(std::round(scaled));
}

std::string human_size(std::uint64_t bytes) {
  if (bytes < kKiB) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  for (const std::string_view unit : {"KiB", "MiB", "GiB", "TiB", "PiB"}) {
    if (value < 999.5) return three_digits(value, unit);
    value /= 1024;
  }
  return three_digits(value, "EiB");
}

std::string human_rate(std::uint64_t bytes_per_second) {
  return human_size(bytes_per_second) + "/s";
}

Result<microseconds> parse_duration(std::string_view text, microseconds unit) {
  static constexpr double kMost = 10.0 * 366 * 86400 * 1e6;
  std::string_view rest = trimmed(text);
  double total = 0;
  bool first = true;
  do {
    const auto number = take_number(rest);
    const std::size_t end = std::min(rest.find_first_of("0123456789. "), rest.size());
    const std::string_view suffix = rest.substr(0, end);
    rest = trimmed(rest.substr(end));
    const bool alone = suffix.empty() && first && rest.empty();
    const auto factor = alone ? std::optional(unit.count()) : duration_unit(suffix);
    if (!number || !factor)
      return fail(
          ErrorId::usage,
          fmt::format("\"{}\" is not a duration (like 90, 300ms, 5s, 1h30m)", escaped(text, 64)));
    total += *number * static_cast<double>(*factor);
    first = false;
  } while (!rest.empty());
  if (total > kMost)
    return fail(ErrorId::usage, fmt::format("the duration \"{}\" is too long", escaped(text, 64)));
  return microseconds(std::llround(total));
}

std::string human_duration(microseconds duration) {
  const std::int64_t us = duration.count();
  if (us < 0) return "-" + human_duration(-duration);
  if (us < 1000) return fmt::format("{} us", us);
  const auto value = static_cast<double>(us);
  if (us < 999'500) return three_digits(value / 1e3, "ms");
  if (us < 60'000'000) return three_digits(value / 1e6, "s");
  const std::int64_t seconds = us / 1'000'000;
  if (seconds < 3600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {:02} min", seconds / 3600, seconds / 60 % 60);
}

}  // namespace vmferry
