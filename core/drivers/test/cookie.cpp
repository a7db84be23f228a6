#include "core/drivers/test/cookie.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace vmferry::sim {

namespace {
constexpr std::string_view kMagic = "VFS1";
constexpr std::size_t kFixed = 4 + 4 + 16 + 2;
}  // namespace

Cookie encode(const CookieBody& body) {
  Cookie out;
  const auto put = [&out](std::uint64_t v) { out.push_back(static_cast<std::byte>(v)); };
  for (const char c : kMagic) put(static_cast<std::uint8_t>(c));
  put(std::to_underlying(body.kind));
  put(body.lowest);
  put(body.highest);
  put(body.chosen);
  out.insert(out.end(), body.id.begin(), body.id.end());
  put(body.text.size() >> 8);
  put(body.text.size() & 0xff);
  for (const char c : body.text) put(static_cast<std::uint8_t>(c));
  return out;
}

Result<CookieBody> decode_cookie(const Cookie& cookie, CookieBody::Kind kind) {
  const auto at = [&cookie](std::size_t i) { return std::to_integer<std::uint8_t>(cookie[i]); };
  if (cookie.size() < kFixed) return fail(ErrorId::protocol, "the migration cookie is cut short");
  for (std::size_t i = 0; i < kMagic.size(); ++i)
    if (at(i) != static_cast<std::uint8_t>(kMagic[i]))
      return fail(ErrorId::protocol, "the migration cookie comes from another hypervisor");
  if (at(4) != std::to_underlying(kind))
    return fail(ErrorId::protocol, "the migration cookie belongs to another phase");
  CookieBody body{kind, at(5), at(6), at(7), {}, {}};
  std::copy_n(cookie.begin() + 8, body.id.size(), body.id.begin());
  const std::size_t length = std::size_t{at(24)} << 8 | at(25);
  if (length > kCookieText || cookie.size() != kFixed + length)
    return fail(ErrorId::protocol, "the migration cookie has a wrong length");
  for (std::size_t i = 0; i < length; ++i) body.text += static_cast<char>(at(kFixed + i));
  return body;
}

Result<std::uint8_t> agree(const CookieBody& source, std::uint8_t lowest, std::uint8_t highest) {
  const std::uint8_t chosen = std::min(source.highest, highest);
  if (chosen >= lowest && chosen >= source.lowest) return chosen;
  return fail(ErrorId::unsupported,
              fmt::format("no version of the data format in common: the source speaks {} to {}, "
                          "this host {} to {}",
                          source.lowest, source.highest, lowest, highest));
}

}  // namespace vmferry::sim
