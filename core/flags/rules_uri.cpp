#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/flags/rules.hpp"

namespace vmferry {

namespace {

/// What the driver does not want to see in a URI.
std::vector<std::string_view> surplus(const MigrateUri& given) {
  std::vector<std::string_view> out;
  if (!given.uri.user.empty() || !given.uri.password.empty()) out.push_back("a user");
  if (!given.uri.path.empty()) out.push_back("a path");
  const std::string_view before_fragment =
      std::string_view(given.text).substr(0, given.text.find('#'));
  if (before_fragment.contains('?')) out.push_back("a query");
  if (given.text.contains('#')) out.push_back("a fragment");
  return out;
}

std::vector<std::pair<std::int32_t, std::string>> faults(const UriRule& rule,
                                                         std::string_view driver,
                                                         const MigrateUri& given) {
  std::vector<std::pair<std::int32_t, std::string>> out;
  const Uri& uri = given.uri;
  if (given.bare()) return {{rule.form_code, "it has no scheme"}};
  if (!among(rule.schemes, uri.scheme))
    out.emplace_back(rule.scheme_code,
                     fmt::format("{} does not take the scheme '{}'", driver, uri.scheme));
  else if (rule.slashes && !given.text.starts_with(uri.scheme + "://"))
    out.emplace_back(rule.form_code, fmt::format("it must begin with {}://", uri.scheme));
  if (uri.scheme == "unix") {
    if (!uri.path.starts_with('/'))
      out.emplace_back(rule.form_code, "a unix socket needs an absolute path");
    return out;
  }
  if (uri.host.empty()) out.emplace_back(rule.form_code, "it has no host");
  if (rule.bare)
    for (const std::string_view part : surplus(given))
      out.emplace_back(rule.form_code, fmt::format("it must not have {}", part));
  if (rule.form_first && out.size() > 1 && out.front().first == rule.scheme_code)
    std::rotate(out.begin(), out.begin() + 1, out.end());
  return out;
}

}  // namespace

std::vector<Objection> check_uri(const DriverRules& rules, std::string_view text) {
  std::vector<Objection> out;
  if (rules.uri.schemes.empty()) return out;
  const auto object = [&](std::int32_t code, std::string_view reason) {
    Objection o{Source::uri, Opt::migrate_uri};
    o.reason = fmt::format("--migrateuri {}: {}", escaped(text, 512), reason);
    if (!rules.uri.note.empty()) o.remedy = fmt::format("Write it as {}.", rules.uri.note);
    o.code = code;
    o.rule = rules.name;
    out.push_back(std::move(o));
  };
  const Result<MigrateUri> given = parse_migrate_uri(text);
  if (!given) {
    object(rules.uri.form_code, given.error().message);
    return out;
  }
  for (const auto& [code, reason] : faults(rules.uri, rules.name, *given)) object(code, reason);
  return out;
}

std::string complete_uri(const DriverRules& rules, std::string_view text) {
  const Result<MigrateUri> given = parse_migrate_uri(text);
  if (!given || !given->bare() || rules.uri.schemes.empty()) return std::string(text);
  const std::string_view scheme = rules.uri.schemes.substr(0, rules.uri.schemes.find(' '));
  return fmt::format("{}://{}", scheme, host_port(given->uri.host, given->uri.port));
}

}  // namespace vmferry
