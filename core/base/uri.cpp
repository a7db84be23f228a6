#include "core/base/uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "core/base/text.hpp"

namespace vmferry {
namespace {

constexpr std::size_t kLongest = 8192;
constexpr std::size_t kMostParams = 256;
constexpr std::string_view kSubDelims = "!$&'()*+,;=";

bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool unreserved(char c) {
  return alpha(c) || digit(c) || std::string_view("-._~").find(c) != std::string_view::npos;
}
bool in(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }

Error bad(std::string_view text, std::string_view why) {
  return {ErrorId::uri_invalid, fmt::format("the URI \"{}\" {}", escaped(text, 512), why)};
}

// Percent-decoded; nothing for a malformed escape or an escaped NUL.
std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view hex = text.substr(i + 1, 2);
    const auto value = hex.size() == 2 ? parse_number<unsigned>(hex, 16) : std::nullopt;
    if (!value || *value == 0) return {};
    out += static_cast<char>(*value);
    i += 2;
  }
  return out;
}

std::string encoded(std::string_view text, std::string_view also_plain) {
  std::string out;
  for (const char c : text) {
    if (unreserved(c) || in(also_plain, c))
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// `text` up to the first of `stops`; `text` keeps the rest, that character included.
std::string_view take_until(std::string_view& text, std::string_view stops) {
  const std::string_view part = text.substr(0, text.find_first_of(stops));
  text.remove_prefix(part.size());
  return part;
}

bool good_host(std::string_view host) {
  return host.size() <= 255 && std::ranges::all_of(host, [](char c) {
           return unreserved(c) || static_cast<unsigned char>(c) >= 0x80 || in("!$&'()*+,;=", c);
         });
}

std::optional<std::string_view> parse_port(std::string_view text, Uri& uri) {
  if (text.empty()) return {};
  text.remove_prefix(1);  // the colon
  if (text.empty()) return {};
  const auto number = parse_number<std::uint16_t>(text);
  if (!number || *number == 0) return "has a port that is not a number from 1 to 65535";
  uri.port = *number;
  return {};
}

// Returns what is wrong, if anything is.
std::optional<std::string_view> parse_authority(std::string_view text, Uri& uri) {
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view info = text.substr(0, at);
    const std::size_t colon = info.find(':');
    const auto user = decoded(info.substr(0, colon));
    if (!user) return "has a malformed percent escape in its user";
    uri.user = *user;
    if (colon != std::string_view::npos) uri.password = info.substr(colon + 1);
    text.remove_prefix(at + 1);
  }
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return "has a \"[\" without its \"]\"";
    const auto host = decoded(text.substr(1, end - 1));
    if (!host || !is_ipv6_literal(*host)) return "has brackets around what is no IPv6 address";
    uri.host = *host;
    text.remove_prefix(end + 1);
    if (!text.empty() && text[0] != ':') return "has something between \"]\" and its port";
    return parse_port(text, uri);
  }
  const auto host = decoded(take_until(text, ":"));
  if (!host || !good_host(*host)) return "has a malformed host name";
  uri.host = *host;
  return parse_port(text, uri);
}

std::optional<std::string_view> parse_query(std::string_view text, Uri& uri) {
  while (!text.empty()) {
    const std::string_view item = take_until(text, "&;");  // libvirt splits at both
    if (!text.empty()) text.remove_prefix(1);
    if (item.empty()) continue;
    const std::size_t equals = std::min(item.find('='), item.size());
    const auto key = decoded(item.substr(0, equals));
    const auto value = decoded(item.substr(std::min(equals + 1, item.size())));
    if (!key || !value) return "has a malformed percent escape in its query";
    if (uri.query.size() == kMostParams) return "has too many parameters";
    uri.query.push_back({*key, *value});
  }
  return {};
}

std::optional<std::string_view> parse_parts(std::string_view text, Uri& uri) {
  const std::size_t colon = text.find(':');
  const std::string_view scheme = text.substr(0, colon);
  const bool named =
      colon != std::string_view::npos && !scheme.empty() && alpha(scheme[0]) &&
      std::ranges::all_of(scheme, [](char c) { return alpha(c) || digit(c) || in("+-._", c); });
  if (!named) return "does not begin with \"scheme:\"";
  uri.scheme = lower(scheme);
  text.remove_prefix(colon + 1);
  if (text.starts_with("//")) {
    text.remove_prefix(2);
    uri.authority = true;
    if (const auto wrong = parse_authority(take_until(text, "/?#"), uri)) return wrong;
  }
  const auto path = decoded(take_until(text, "?#"));
  if (!path) return "has a malformed percent escape in its path";
  uri.path = *path;
  if (text.starts_with('?')) {
    text.remove_prefix(1);
    if (const auto wrong = parse_query(take_until(text, "#"), uri)) return wrong;
  }
  if (text.empty()) return {};
  const auto fragment = decoded(text.substr(1));
  if (!fragment) return "has a malformed percent escape in its fragment";
  uri.fragment = *fragment;
  return {};
}

}  // namespace

std::optional<std::string> Uri::param(std::string_view name) const {
  for (const Param& p : query | std::views::reverse)
    if (p.name == name) return p.value;
  return {};
}

bool is_ipv6_literal(std::string_view host) {
  const std::size_t zone = host.find('%');
  const std::string_view address = host.substr(0, zone);
  if (address.size() > 45 || std::ranges::count(address, ':') < 2) return false;
  if (zone != std::string_view::npos) {
    const std::string_view id = host.substr(zone + 1);
    if (id.empty() || id.size() > 32 || !std::ranges::all_of(id, unreserved)) return false;
  }
  return std::ranges::all_of(address, [](char c) {
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
  });
}

std::string host_port(std::string_view host, std::uint16_t port) {
  std::string out = is_ipv6_literal(host) ? fmt::format("[{}]", host) : std::string(host);
  if (port != 0) out += fmt::format(":{}", port);
  return out;
}

std::string Uri::to_string() const {
  std::string out = scheme.empty() ? "" : scheme + ":";
  if (authority) {
    out += "//";
    if (!user.empty()) out += encoded(user, kSubDelims) + "@";
    if (is_ipv6_literal(host))
      out += fmt::format("[{}]", encoded(host, ":"));
    else
      out += encoded(host, kSubDelims);
    if (port != 0) out += fmt::format(":{}", port);
  }
  out += encoded(path, "!$&'()*+,;=:@/");
  char separator = '?';
  for (const Param& p : query) {
    out += separator + encoded(p.name, "/:@,+") + "=" + encoded(p.value, "/:@,+");
    separator = '&';
  }
  if (!fragment.empty()) out += "#" + encoded(fragment, "!$&'()*+,;=:@/?");
  return out;
}

Result<Uri> parse_uri(std::string_view text) {
  if (text.size() > kLongest) return std::unexpected(bad(text, "is longer than 8192 bytes"));
  const auto odd = [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; };
  if (std::ranges::any_of(text, odd))
    return std::unexpected(bad(text, "holds a space or a control character"));
  Uri uri;
  if (const auto wrong = parse_parts(text, uri)) {
    // Not the text itself: it may hold a password.
    const bool secret = text.find('@') != std::string_view::npos;
    const std::string_view shown = secret ? text.substr(0, text.find(':')) : text;
    return std::unexpected(bad(secret ? std::string(shown) + ":…" : std::string(shown), *wrong));
  }
  return uri;
}

// -- migration URIs -----------------------------------------------------------------------------

namespace {

Result<MigrateUri> bare_migrate_host(std::string_view text) {
  MigrateUri out{.text = std::string(text)};
  const bool raw6 = is_ipv6_literal(text);
  const std::string with_scheme =
      raw6 ? fmt::format("tcp://[{}]", text) : fmt::format("tcp://{}", text);
  auto uri = parse_uri(with_scheme);
  if (!uri) return std::unexpected(bad(text, "is neither a URI nor a host name"));
  out.uri = *std::move(uri);
  out.uri.scheme.clear();
  return out;
}

}  // namespace

std::string MigrateUri::with_port(std::uint16_t port) const {
  if (bare()) return host_port(uri.host, port);
  Uri changed = uri;
  changed.port = port;
  if (slashes) return changed.to_string();
  return fmt::format("{}:{}", uri.scheme, host_port(uri.host, port));
}

Result<MigrateUri> parse_migrate_uri(std::string_view text) {
  if (text.empty()) return std::unexpected(bad(text, "is empty"));
  const std::size_t colon = text.find(':');
  const std::string_view scheme = text.substr(0, colon);
  const bool host_first = colon == std::string_view::npos || is_ipv6_literal(text) ||
                          text.starts_with('[') || scheme.find('.') != std::string_view::npos;
  if (host_first) return bare_migrate_host(text);
  const std::string_view rest = text.substr(colon + 1);
  MigrateUri out{.text = std::string(text)};
  out.slashes = rest.starts_with("//");
  // "tcp:host:port" is libvirt's old spelling; "unix:/path" and "fd:3" keep their opaque part.
  const bool old = !out.slashes && (scheme == "tcp" || scheme == "rdma" || scheme == "vzmigr");
  auto uri = parse_uri(old ? fmt::format("{}://{}", scheme, rest) : std::string(text));
  if (!uri && parse_number<std::uint32_t>(rest))  // host:port
    return bare_migrate_host(text);
  if (!uri) return std::unexpected(std::move(uri).error());
  const bool host_and_port = !out.slashes && parse_number<std::uint16_t>(rest) && scheme != "fd";
  if (!old && host_and_port) return bare_migrate_host(text);
  out.uri = *std::move(uri);
  return out;
}

}  // namespace vmferry
