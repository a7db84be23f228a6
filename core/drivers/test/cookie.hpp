#pragma once
// What the simulation's two sides tell each other beside the data: our own bounded binary form,
// opaque to everybody in between.
//
//   "VFS1" | kind u8 | lowest u8 | highest u8 | chosen u8 | id 16 bytes | length u16 | text
//
// `lowest` and `highest`: versions of the data format that this side knows; `chosen`: the lower of
// both highest ones, once prepare has seen both. Text: the persistent XML, or nothing.
#include <array>
#include <cstdint>
#include <string>

#include "core/host/host.hpp"

namespace vmferry::sim {

using MigrationId = std::array<std::byte, 16>;
inline constexpr std::uint8_t kDataVersion = 3;  ///< 1: pages; 2: also compressed; 3: post-copy
inline constexpr std::size_t kCookieText = 60000;
inline constexpr std::string_view kStoppedGuest = "stopped";  ///< text of a begun cookie

struct CookieBody {
  enum class Kind : std::uint8_t { begun = 1, prepared = 2, performed = 3, finished = 4 };
  Kind kind = Kind::begun;
  std::uint8_t lowest = 1, highest = 1, chosen = 0;
  MigrationId id{};
  std::string text;
};
Cookie encode(const CookieBody& body);
/// Errors: protocol (not ours, another kind, cut short, too long).
Result<CookieBody> decode_cookie(const Cookie& cookie, CookieBody::Kind kind);

/// The lower of both highest versions. Errors: unsupported, when there is none in common.
Result<std::uint8_t> agree(const CookieBody& source, std::uint8_t lowest, std::uint8_t highest);

}  // namespace vmferry::sim
