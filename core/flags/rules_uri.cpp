#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/base/uri_split.hpp"
#include "core/flags/rules.hpp"

namespace vmferry {

namespace {

std::string first(std::string_view words) { return std::string(words.substr(0, words.find(' '))); }

/// "tcp:HOST:PORT": libvirt's old spelling without slashes, still made by its daemons.
bool old_spelling(std::string_view uri) {
  return uri.starts_with("tcp:") && !uri.starts_with("tcp://");
}

}  // namespace

std::vector<Objection> check_uri(const DriverRules& rules, std::string_view text) {
  std::vector<Objection> out;
  const auto object = [&](std::int32_t code, std::string reason) {
    Objection o{Source::uri, Opt::migrate_uri};
    o.reason = fmt::format("--migrateuri {}: {}", text, reason);
    o.remedy = rules.uri.note.empty() ? "" : fmt::format("Write it as {}.", rules.uri.note);
    o.code = code;
    o.rule = rules.name;
    out.push_back(std::move(o));
  };
  if (rules.uri.schemes.empty()) return out;
  const std::string normal =
      old_spelling(text) ? fmt::format("tcp://{}", text.substr(4)) : std::string(text);
  const UriSplit uri = split_uri(normal);
  if (!uri.problem.empty()) object(rules.uri.form_code, uri.problem);
  if (uri.scheme.empty()) {
    object(rules.uri.form_code, "it has no scheme");
    return out;
  }
  if (!among(rules.uri.schemes, uri.scheme))
    object(rules.uri.scheme_code,
           fmt::format("{} does not take the scheme '{}'", rules.name, uri.scheme));
  if (uri.scheme == "unix") {
    if (uri.path.empty() || uri.path.front() != '/')
      object(rules.uri.form_code, "a unix socket needs an absolute path");
    return out;
  }
  if (uri.host.empty()) object(rules.uri.form_code, "it has no host");
  if (!rules.uri.bare) return out;
  if (!uri.user.empty()) object(rules.uri.form_code, "it must not have a user");
  if (!uri.path.empty()) object(rules.uri.form_code, "it must not have a path");
  if (uri.has_query) object(rules.uri.form_code, "it must not have a query");
  if (uri.has_fragment) object(rules.uri.form_code, "it must not have a fragment");
  return out;
}

std::string complete_uri(const DriverRules& rules, std::string_view uri) {
  if (rules.uri.schemes.empty() || uri.contains("://") || old_spelling(uri) || uri.empty())
    return std::string(uri);
  if (uri.starts_with('/') || uri.starts_with("unix:")) return std::string(uri);
  const bool v6 = std::ranges::count(uri, ':') > 1 && !uri.starts_with('[');
  const std::string scheme = first(rules.uri.schemes);
  return v6 ? fmt::format("{}://[{}]", scheme, uri) : fmt::format("{}://{}", scheme, uri);
}

}  // namespace vmferry
