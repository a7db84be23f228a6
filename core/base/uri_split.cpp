#include "core/base/uri_split.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>

namespace vmferry {

namespace {

bool scheme_like(std::string_view s) {
  if (s.empty() || std::isalpha(static_cast<unsigned char>(s.front())) == 0) return false;
  return std::ranges::all_of(
      s, [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.'; });
}

void check_port(UriSplit& out) {
  std::uint32_t port = 0;
  const char* end = out.port.data() + out.port.size();
  const auto [at, ec] = std::from_chars(out.port.data(), end, port);
  if (ec != std::errc() || at != end || port == 0 || port > 65535)
    out.problem = "'" + out.port + "' is not a port";
}

void split_authority(std::string_view text, UriSplit& out) {
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    out.user = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) {
      out.problem = "a '[' is not closed";
      return;
    }
    out.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    out.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (port.empty()) return;
  out.port = port.substr(1);
  if (port.front() != ':')
    out.problem = "something stands after the ']'";
  else
    check_port(out);
}

}  // namespace

UriSplit split_uri(std::string_view uri) {
  UriSplit out;
  if (const std::size_t hash = uri.find('#'); hash != std::string_view::npos) {
    out.has_fragment = true;
    out.fragment = uri.substr(hash + 1);
    uri = uri.substr(0, hash);
  }
  if (const std::size_t mark = uri.find('?'); mark != std::string_view::npos) {
    out.has_query = true;
    out.query = uri.substr(mark + 1);
    uri = uri.substr(0, mark);
  }
  const std::size_t colon = uri.find(':');
  if (colon != std::string_view::npos && scheme_like(uri.substr(0, colon))) {
    out.scheme = uri.substr(0, colon);
    std::ranges::transform(out.scheme, out.scheme.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    uri.remove_prefix(colon + 1);
  }
  if (uri.starts_with("//")) {
    out.has_authority = true;
    const std::size_t slash = std::min(uri.find('/', 2), uri.size());
    split_authority(uri.substr(2, slash - 2), out);
    uri.remove_prefix(slash);
  }
  out.path = uri;
  return out;
}

}  // namespace vmferry
