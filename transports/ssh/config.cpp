#include "transports/ssh/config.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "transports/command.hpp"

namespace vmferry {
namespace {

constexpr std::size_t kMostOutput = 256 << 10;

std::string home(const DialOptions& options) {
  if (const auto dir = options.env("HOME")) return *dir;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry == nullptr ? "" : entry->pw_dir;
}

std::string local_user(const DialOptions& options) {
  const passwd* entry = ::getpwuid(::geteuid());
  if (entry != nullptr) return entry->pw_name;
  return options.env("USER").value_or("root");
}

void expand(std::string& path, const std::string& home_dir) {
  if (path.starts_with("~/")) path.replace(0, 1, home_dir);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view word : split(text, ' '))
    if (!word.empty()) out.emplace_back(word);
  return out;
}

void set(SshConfig& config, std::string_view key, std::string_view value) {
  if (key == "hostname") config.hostname = value;
  if (key == "user") config.user = value;
  if (key == "hostkeyalias") config.host_key_alias = value;
  if (key == "port") config.port = parse_number<std::uint16_t>(value).value_or(22);
  if (key == "identityfile" && config.identity_files.size() < 64)
    config.identity_files.emplace_back(value);
  if (key == "identityagent" && value != "SSH_AUTH_SOCK") config.identity_agent = value;
  if (key == "proxyjump" && value != "none") config.proxy_jump = value;
  if (key == "proxycommand" && value != "none") config.proxy_command = value;
  if (key != "userknownhostsfile" && key != "globalknownhostsfile") return;
  for (std::string& file : words_of(value))
    if (file != "none") config.known_hosts_files.push_back(std::move(file));
}

Task<std::string> read_all(Stream& stream) {
  std::string out;
  std::array<std::byte, 8192> buffer{};
  for (;;) {
    const std::size_t n = co_await stream.read_some(buffer);
    if (n == 0) co_return out;
    out.append(reinterpret_cast<const char*>(buffer.data()), n);
    if (out.size() > kMostOutput)
      throw Error(ErrorId::connect_failed, "ssh -G prints more than a configuration can be");
  }
}

// The output of ssh -G; empty when ssh is not installed.
Task<std::string> ask_ssh(const ConnectUri& uri, Clock& clock, const DialOptions& options) {
  if (options.ssh_program.empty()) co_return std::string();
  std::vector<std::string> argv{options.ssh_program, "-G"};
  const std::vector<std::string> port{"-p", std::to_string(uri.uri.port)};
  const std::vector<std::string> user{"-l", uri.uri.user};
  if (uri.uri.port != 0) argv.insert(argv.end(), port.begin(), port.end());
  if (!uri.uri.user.empty()) argv.insert(argv.end(), user.begin(), user.end());
  argv.emplace_back("--");
  argv.push_back(uri.host());
  const auto ex = co_await asio::this_coro::executor;
  std::unique_ptr<Stream> program;
  try {
    program = run_command(ex, clock, argv);
  } catch (const Error&) {
    co_return std::string();  // not installed, so it has no configuration: OpenSSH's defaults stand
  }
  Task<std::string> reading = read_all(*program);
  Task<std::string> bounded =
      with_deadline(clock, options.timeout, "the answer of ssh -G", std::move(reading));
  Result<std::string> output = co_await settle(std::move(bounded));
  if (!output)
    throw std::move(output).error().note(
        "ssh was asked for its configuration of the host (ssh -G)");
  co_return *std::move(output);
}

// These go to ssh's command line, and through %h and %r into a ProxyCommand, which is shell: as
// OpenSSH since 9.6, nothing that a shell could take for more than a word.
void refuse_odd_names(const ConnectUri& uri) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("._-:%@+").find(c) != std::string_view::npos;
  };
  const std::string host = uri.host();
  if (std::ranges::all_of(host, plain) && std::ranges::all_of(uri.uri.user, plain)) return;
  throw Error(ErrorId::uri_invalid,
              fmt::format("{}: a user or host name of ssh holds letters, digits and ._-:%@+ only",
                          escaped(uri.to_string(), 512)));
}

// The tokens of ssh_config(5) that matter to reach a host.
std::string expand_tokens(std::string_view text, const SshConfig& config,
                          const std::string& typed) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char token = text[i] == '%' && i + 1 < text.size() ? text[++i] : '\0';
    switch (token) {
      case '\0':
        out += text[i];
        break;
      case 'h':
        out += config.hostname;
        break;
      case 'p':
        out += std::to_string(config.port);
        break;
      case 'r':
        out += config.user;
        break;
      case 'n':
        out += typed;
        break;
      case '%':
        out += '%';
        break;
      default:
        throw Error(ErrorId::unsupported,
                    fmt::format("the ProxyCommand \"{}\" of ssh's configuration has the token %{}, "
                                "which is not known here",
                                escaped(text, 256), token));
    }
  }
  return out;
}

void add_defaults(SshConfig& config, const ConnectUri& uri, const DialOptions& options) {
  if (config.hostname.empty()) config.hostname = uri.host();
  if (config.user.empty()) config.user = local_user(options);
  if (config.identity_files.empty())
    for (const char* name : {"id_ed25519", "id_ecdsa", "id_rsa"})
      config.identity_files.push_back(std::string("~/.ssh/") + name);
  if (config.known_hosts_files.empty())
    config.known_hosts_files = {"~/.ssh/known_hosts", "~/.ssh/known_hosts2",
                                "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"};
}

}  // namespace

SshConfig parse_ssh_config(std::string_view output) {
  SshConfig config;
  for (const std::string_view line : split(output, '\n')) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    set(config, lower(line.substr(0, space)), trimmed(line.substr(space)));
  }
  return config;
}

Task<SshConfig> ssh_config_for(const ConnectUri& uri, Clock& clock, const DialOptions& options) {
  refuse_odd_names(uri);
  const std::string output = co_await ask_ssh(uri, clock, options);
  SshConfig config = parse_ssh_config(output);
  config.has_program = !output.empty();
  if (!uri.uri.user.empty()) config.user = uri.uri.user;
  if (uri.uri.port != 0) config.port = uri.uri.port;
  if (uri.keyfile) config.identity_files = {*uri.keyfile};
  if (uri.known_hosts) config.known_hosts_files = {*uri.known_hosts};
  add_defaults(config, uri, options);
  if (config.hostname.starts_with('-') || config.user.starts_with('-'))
    throw Error(ErrorId::uri_invalid, "a user or host name of ssh must not begin with \"-\"");
  config.proxy_command = expand_tokens(config.proxy_command, config, uri.host());
  const std::string home_dir = home(options);
  for (std::string& file : config.identity_files) expand(file, home_dir);
  for (std::string& file : config.known_hosts_files) expand(file, home_dir);
  expand(config.identity_agent, home_dir);
  co_return config;
}

std::vector<std::string> proxy_argv(const SshConfig& config, const DialOptions& options) {
  const std::string target = host_port(config.hostname, config.port);
  if (!config.proxy_jump.empty()) {
    // The last hop is where the connection to the host itself comes from; ssh handles those before.
    const std::size_t comma = config.proxy_jump.rfind(',');
    std::vector<std::string> argv{options.ssh_program, "-W", target};
    std::string last = config.proxy_jump;
    if (comma != std::string::npos) {
      argv.insert(argv.end(), {"-J", config.proxy_jump.substr(0, comma)});
      last = config.proxy_jump.substr(comma + 1);
    }
    // user@host:port is a form that ssh takes as a URI only.
    if (!last.starts_with("ssh://")) last = "ssh://" + last;
    argv.insert(argv.end(), {"--", last});
    return argv;
  }
  // As ssh does: through the shell, which it replaces.
  if (!config.proxy_command.empty()) return {"/bin/sh", "-c", "exec " + config.proxy_command};
  return {};
}

}  // namespace vmferry
