#include "cli/connect.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmferry::cli {

namespace {

constexpr std::size_t kMostConfig = 1 << 20;

// A reader for the little of libvirt's configuration syntax that libvirt.conf uses:
// name = "string", name = [ "string", … ], # comments.
class ConfigReader {
 public:
  ConfigReader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<ClientConfig> run() {
    ClientConfig config;
    for (skip(); !text_.empty(); skip()) {
      const std::string name = word();
      skip();
      if (name.empty() || !take('=')) return bad("expected a name and '='");
      const Result<std::vector<std::string>> values = value();
      if (!values) return std::unexpected(values.error());
      if (name == "uri_default" && values->size() == 1) config.uri_default = values->front();
      if (name != "uri_aliases") continue;
      for (const std::string& v : *values) {
        const auto equals = v.find('=');
        if (equals == std::string::npos) return bad(fmt::format("'{}' is not alias=uri", v));
        config.aliases.emplace(v.substr(0, equals), v.substr(equals + 1));
      }
    }
    return config;
  }

 private:
  std::unexpected<Error> bad(std::string_view why) {
    return fail(ErrorId::usage, fmt::format("{}, line {}: {}", file_, line_, why));
  }
  char next() {
    const char c = text_.front();
    if (c == '\n') ++line_;
    text_.remove_prefix(1);
    return c;
  }
  void skip() {
    bool comment = false;
    while (!text_.empty()) {
      const char c = text_.front();
      if (c == '#') comment = true;
      if (c == '\n') comment = false;
      if (!comment && c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != ';') return;
      next();
    }
  }
  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    next();
    return true;
  }
  std::string word() {
    std::string out;
    const auto part = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    };
    while (!text_.empty() && part(text_.front())) out += next();
    return out;
  }
  Result<std::string> string() {
    const char quote = text_.empty() ? '\0' : text_.front();
    if (quote != '"' && quote != '\'') return word();
    next();
    std::string out;
    while (!text_.empty() && text_.front() != quote && text_.front() != '\n') out += next();
    if (!take(quote)) return bad("a string does not end");
    return out;
  }
  Result<std::vector<std::string>> value() {
    std::vector<std::string> out;
    skip();
    const bool list = take('[');
    while (true) {
      if (list) skip();
      if (list && take(']')) return out;
      Result<std::string> one = string();
      if (!one) return std::unexpected(one.error());
      if (one->empty() && text_.empty()) return bad("a value is missing");
      out.push_back(*std::move(one));
      if (!list) return out;
      skip();
      if (take(']')) return out;
      if (!take(',')) return bad("expected ',' or ']'");
    }
  }

  std::string_view text_;
  std::string_view file_;
  int line_ = 1;
};

std::string home(const Environment& environment) { return environment("HOME").value_or(""); }

}  // namespace

Result<ClientConfig> parse_client_config(std::string_view text, std::string_view file) {
  return ConfigReader(text, file).run();
}

ClientConfig load_client_config(const Environment& environment, bool root) {
  const std::string base = environment("XDG_CONFIG_HOME").value_or(home(environment) + "/.config");
  const std::string path = root ? "/etc/libvirt/libvirt.conf" : base + "/libvirt/libvirt.conf";
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::string text(kMostConfig, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return value_or_throw(parse_client_config(text, path));
}

std::string resolve_alias(const std::string& uri, const ClientConfig& config) {
  const auto found = config.aliases.find(uri);
  return found == config.aliases.end() ? uri : found->second;
}

std::string named_uri(const std::string& option, const Environment& environment,
                      const ClientConfig& config) {
  if (!option.empty()) return resolve_alias(option, config);
  for (const char* name : {"VMFERRY_URI", "VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI"}) {
    const std::optional<std::string> value = environment(name);
    if (value && !value->empty()) return resolve_alias(*value, config);
  }
  return resolve_alias(config.uri_default, config);
}

Result<std::string> local_uri(const Environment& environment, bool root,
                              const std::function<bool(const std::string& path)>& exists) {
  struct Candidate {
    std::string_view socket, uri;
  };
  static constexpr Candidate system[] = {{"virtqemud-sock", "qemu:///system"},
                                         {"virtxend-sock", "xen:///system"},
                                         {"virtchd-sock", "ch:///system"},
                                         {"virtvzd-sock", "vz:///system"},
                                         {"libvirt-sock", "qemu:///system"}};
  if (root) {
    if (exists("/proc/xen/capabilities") && exists("/run/libvirt/libvirt-sock"))
      return "xen:///system";
    for (const Candidate& c : system)
      if (exists(fmt::format("/run/libvirt/{}", c.socket))) return std::string(c.uri);
  } else {
    const std::string run = environment("XDG_RUNTIME_DIR").value_or("") + "/libvirt/";
    for (const std::string_view socket : {"virtqemud-sock", "libvirt-sock"})
      if (exists(run + std::string(socket))) return "qemu:///session";
  }
  return std::unexpected(
      Error(ErrorId::connect_failed, "no libvirt daemon was found on this machine")
          .at(Side::client)
          .advise("Name a host with -c URI or VMFERRY_URI; test:///default is a simulated one to "
                  "learn with."));
}

std::string connection_uri(const Context& context) {
  if (!context.uri.empty()) return context.uri;
  const auto exists = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
  };
  return value_or_throw(local_uri(context.environment, geteuid() == 0, exists));
}

Task<std::unique_ptr<Host>> connect(Context& context) {
  std::string uri = connection_uri(context);
  Task<std::unique_ptr<Host>> opening = context.open(std::move(uri));
  std::unique_ptr<Host> host = co_await std::move(opening);
  co_return host;
}

}  // namespace vmferry::cli
