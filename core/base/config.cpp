#include "core/base/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/text.hpp"

namespace vmferry {
namespace {

constexpr std::size_t kLargest = 1 << 20;

bool name_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '-' || c == '.';
}

// A cursor over libvirt's little configuration language (virconf.c).
class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : rest_(text), file_(file) {}

  Result<ClientConfig> run() {
    ClientConfig out;
    for (skip_space(true); !rest_.empty(); skip_space(true)) {
      const std::string key = take_name();
      skip_space(false);
      if (key.empty() || !take('=')) return wrong("expected \"name = value\"");
      skip_space(false);
      auto values = take_value();
      if (!values) return std::unexpected(std::move(values).error());
      if (auto stored = store(key, *values, out); !stored)
        return std::unexpected(std::move(stored).error());
    }
    return out;
  }

 private:
  using Values = std::vector<std::string>;

  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(ErrorId::usage, fmt::format("{}:{}: {}", file_, line_, what));
  }

  Result<> store(const std::string& key, const Values& values, ClientConfig& out) const {
    if (key == "uri_default" && !values.empty() && !values[0].empty()) out.uri_default = values[0];
    if (key != "uri_aliases") return {};
    for (const std::string& value : values) {
      const std::size_t equals = value.find('=');
      const std::string alias = value.substr(0, equals);
      const bool named = !alias.empty() && std::ranges::all_of(alias, name_char);
      if (equals == std::string::npos || !named)
        return wrong(fmt::format("the alias \"{}\" is not of the form name=uri://host/path",
                                 escaped(value, 128)));
      out.uri_aliases.emplace_back(alias, value.substr(equals + 1));
    }
    return {};
  }

  void skip_space(bool lines) {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '#') {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        line_ += c == '\n' ? 1 : 0;
        rest_.remove_prefix(1);
      } else {
        return;
      }
    }
  }

  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string take_name() {
    const auto end = std::ranges::find_if_not(rest_, name_char);
    const std::string out(rest_.begin(), end);
    rest_.remove_prefix(out.size());
    return out;
  }

  // Strings have no escapes: a quote of the one kind may stand in quotes of the other.
  Result<std::string> take_string() {
    const char quote = rest_[0];
    const std::size_t end = rest_.find(quote, 1);
    if (end == std::string_view::npos) return wrong("a string without its closing quote");
    const std::string out(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    line_ += static_cast<int>(std::ranges::count(out, '\n'));
    return out;
  }

  Result<Values> take_value() {
    if (rest_.starts_with('"') || rest_.starts_with('\'')) {
      auto text = take_string();
      if (!text) return std::unexpected(std::move(text).error());
      return Values{*std::move(text)};
    }
    if (take('[')) return take_list();
    const std::string number = take_name();
    if (!parse_number<std::int64_t>(number)) return wrong("expected a string, a number or a list");
    return Values{number};
  }

  Result<Values> take_list() {
    Values out;
    for (;;) {
      skip_space(true);
      if (take(']')) return out;
      if (!rest_.starts_with('"') && !rest_.starts_with('\''))
        return wrong("expected a string or \"]\" in a list");
      auto text = take_string();
      if (!text) return std::unexpected(std::move(text).error());
      out.push_back(*std::move(text));
      skip_space(true);
      if (!take(',') && !rest_.starts_with(']')) return wrong("expected \",\" or \"]\" in a list");
    }
  }

  std::string_view rest_, file_;
  int line_ = 1;
};

Result<ClientConfig> load_file(const std::filesystem::path& path) {
  std::error_code failure;
  const auto size = std::filesystem::file_size(path, failure);
  if (failure) return ClientConfig{};
  if (size > kLargest) return fail(ErrorId::io, fmt::format("{} is too large", path.string()));
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorId::io, fmt::format("cannot read {}", path.string()));
  std::ostringstream text;
  text << in.rdbuf();
  return parse_client_config(text.str(), path.string());
}

std::optional<std::filesystem::path> user_file(const Environment& env) {
  if (const auto base = env("XDG_CONFIG_HOME")) return *base + "/libvirt/libvirt.conf";
  if (const auto home = env("HOME")) return *home + "/.config/libvirt/libvirt.conf";
  return {};
}

}  // namespace

std::optional<std::string> ClientConfig::alias(std::string_view name) const {
  for (const auto& [alias, uri] : uri_aliases)
    if (alias == name) return uri;
  return {};
}

Result<ClientConfig> parse_client_config(std::string_view text, std::string_view file) {
  if (text.size() > kLargest) return fail(ErrorId::usage, fmt::format("{} is too large", file));
  return Parser(text, file).run();
}

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return {};
  return value;
}

Result<ClientConfig> load_client_config(const Environment& env, bool root,
                                        const std::string& system_file) {
  auto system = load_file(system_file);
  const auto users_path = root ? std::nullopt : user_file(env);
  if (!system || !users_path) return system;
  auto user = load_file(*users_path);
  if (!user) return user;
  if (!user->uri_default) user->uri_default = system->uri_default;
  std::ranges::copy(system->uri_aliases, std::back_inserter(user->uri_aliases));
  return user;
}

std::string choose_uri(std::string_view given, const ClientConfig& config, const Environment& env,
                       bool root) {
  std::string chosen(given);
  if (chosen.empty()) chosen = env("VMFERRY_URI").value_or("");
  if (chosen.empty()) chosen = env("LIBVIRT_DEFAULT_URI").value_or("");
  if (chosen.empty()) chosen = config.uri_default.value_or("");
  if (chosen.empty()) return root ? "qemu:///system" : "qemu:///session";
  return config.alias(chosen).value_or(chosen);
}

}  // namespace vmferry
