#pragma once
// Small helpers for text. Everything that came from a peer goes through escaped() before a person
// sees it.
#include <charconv>
#include <concepts>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmferry {

/// `text` with control characters (C0, DEL, C1, line and direction marks) and bytes that are not
/// UTF-8 as \xNN, a backslash as it is. At most `max` bytes of input are shown; then "…" follows.
std::string escaped(std::string_view text, std::size_t max = 4096);

/// As escaped(), but line by line: lines are trimmed, empty ones dropped, and joined with "; ".
std::string escaped_lines(std::string_view text, std::size_t max = 4096);

std::string_view trimmed(std::string_view text);  ///< without white space at both ends
/// Every piece, empty ones too; "" gives one empty piece.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string joined(std::span<const std::string> parts, std::string_view separator);
std::string lower(std::string_view text);  ///< ASCII only

/// The whole of `text` as a number: no sign unless T has one, no space, no overflow.
template <std::integral T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. Texts above
/// 64 bytes are never close: their distance is the longer length.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate that was most likely meant, for "did you mean …?"; nothing if none is near.
std::optional<std::string_view> closest(std::string_view word,
                                        std::span<const std::string_view> candidates);

/// Code points: columns on a terminal, good enough for names and prose.
std::size_t columns(std::string_view text);

/// Breaks text at spaces so that no line is longer than `columns`, its indent not counted; lines
/// after the first begin with `indent` spaces. A word is never cut.
std::string wrap(std::string_view text, std::size_t columns, std::size_t indent);

/// `text` as one word of a POSIX shell, whatever it holds; plain words stay as they are.
std::string shell_quoted(std::string_view text);
/// As above, but quoted always.
std::string shell_single_quoted(std::string_view text);

}  // namespace vmferry
