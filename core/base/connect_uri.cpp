// The half of uri.hpp that knows libvirt's transports and their parameters.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"

namespace vmferry {
namespace {

constexpr std::array<std::string_view, 8> kTransports{"",    "unix",    "tcp",    "tls",
                                                      "ssh", "libssh2", "libssh", "ext"};
constexpr std::array<std::string_view, 17> kParameters{
    "name",         "command", "socket",    "auth",        "no_sanity",
    "no_tty",       "netcat",  "keyfile",   "known_hosts", "known_hosts_verify",
    "sshauth",      "mode",    "no_verify", "proxy",       "pkipath",
    "tls_priority", "vmferry"};
constexpr std::array<std::string_view, 4> kSshAuth{"agent", "privkey", "password",
                                                   "keyboard-interactive"};

std::unexpected<Error> bad(std::string message) {
  return fail(ErrorId::uri_invalid, std::move(message));
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  const auto near = closest(word, candidates);
  return near && !near->empty() ? fmt::format("; did you mean \"{}\"?", *near) : std::string();
}

Result<std::size_t> choice(std::string_view name, std::string_view value,
                           std::span<const std::string_view> values) {
  const auto found = std::ranges::find(values, value);
  if (found != values.end()) return static_cast<std::size_t>(found - values.begin());
  return bad(fmt::format("the parameter {}= of a connection URI cannot be \"{}\"; it is one of {}",
                         name, escaped(value, 64), fmt::join(values, ", ")));
}

// libvirt reads these as numbers; anything but 0 is yes.
Result<> set_flag(const Uri::Param& p, bool& into) {
  const auto number = parse_number<std::int32_t>(p.value);
  if (!number)
    return bad(fmt::format("the parameter {}= of a connection URI cannot be \"{}\"; it is 0 or 1",
                           p.name, escaped(p.value, 64)));
  into = *number != 0;
  return {};
}

template <class E>
Result<> set_choice(const Uri::Param& p, std::span<const std::string_view> values, E& into) {
  const auto index = choice(p.name, p.value, values);
  if (!index) return std::unexpected(index.error());
  into = static_cast<E>(*index);
  return {};
}

Result<> set_sshauth(const Uri::Param& p, std::vector<std::string>& into) {
  into.clear();
  for (const std::string_view method : split(p.value, ',')) {
    const auto known = choice(p.name, method, kSshAuth);
    if (!known) return std::unexpected(known.error());
    into.emplace_back(method);
  }
  return {};
}

Result<> set_verify(const Uri::Param& p, ConnectUri& into) {
  static constexpr std::array<std::string_view, 3> values{"normal", "auto", "ignore"};
  KnownHostsVerify verify{};
  auto set = set_choice(p, values, verify);
  if (set) into.known_hosts_verify = verify;
  return set;
}

std::optional<std::string>* text_parameter(ConnectUri& c, std::string_view name) {
  if (name == "name") return &c.name;
  if (name == "command") return &c.command;
  if (name == "socket") return &c.socket;
  if (name == "netcat") return &c.netcat;
  if (name == "keyfile") return &c.keyfile;
  if (name == "known_hosts") return &c.known_hosts;
  if (name == "pkipath") return &c.pkipath;
  if (name == "tls_priority") return &c.tls_priority;
  if (name == "auth") return &c.auth;
  if (name == "vmferry") return &c.vmferry;
  return nullptr;
}

Result<> set_parameter(const Uri::Param& p, ConnectUri& into) {
  static constexpr std::array<std::string_view, 3> modes{"auto", "legacy", "direct"};
  static constexpr std::array<std::string_view, 3> proxies{"auto", "netcat", "native"};
  if (auto* text = text_parameter(into, p.name)) {
    if (p.value.empty() && p.name != "name")
      return bad(fmt::format("the parameter {}= of a connection URI is empty", p.name));
    *text = p.value;
    return {};
  }
  if (p.name == "mode") return set_choice(p, modes, into.mode);
  if (p.name == "proxy") return set_choice(p, proxies, into.proxy);
  if (p.name == "known_hosts_verify") return set_verify(p, into);
  if (p.name == "sshauth") return set_sshauth(p, into.sshauth);
  if (p.name == "no_tty") return set_flag(p, into.no_tty);
  if (p.name == "no_verify") return set_flag(p, into.no_verify);
  if (p.name == "no_sanity") return set_flag(p, into.no_sanity);
  return {};  // the driver's own
}

bool of_transport(const Uri::Param& p) {
  return std::ranges::find(kParameters, p.name) != kParameters.end();
}

Result<> check(const ConnectUri& c) {
  const std::string shown = c.to_string();
  const auto dashed = [](std::string_view text) { return text.starts_with('-'); };
  if (!c.uri.password.empty())
    return bad(
        fmt::format("{}: a password in a URI is seen by everybody who can list processes; "
                    "leave it out and it is asked for",
                    shown));
  if (dashed(c.uri.host) || dashed(c.uri.user))
    return bad(fmt::format("{}: a user or host name must not begin with \"-\"", escaped(shown)));
  if (c.transport == Transport::unix_ && !c.uri.host.empty())
    return bad(
        fmt::format("{}: a unix socket is on this host; leave the host name out, or use "
                    "+ssh or +tcp",
                    shown));
  if (c.transport == Transport::ext && !c.command)
    return bad(fmt::format("{}: +ext needs the parameter command=", shown));
  if (c.proxy == SshProxy::native && c.netcat)
    return bad(fmt::format("{}: proxy=native and netcat= exclude each other", shown));
  return {};
}

std::string name_with(const ConnectUri& c, bool for_helper) {
  Uri out{.scheme = c.driver, .authority = true, .path = c.uri.path, .fragment = c.uri.fragment};
  if (out.path.empty()) out.path = "/";
  for (const Uri::Param& p : c.uri.query) {
    const bool keep = for_helper && (p.name == "mode" || p.name == "socket");
    if (keep || !of_transport(p)) out.query.push_back(p);
  }
  return out.to_string();
}

}  // namespace

std::string_view name(Transport transport) { return kTransports.at(std::to_underlying(transport)); }

bool ConnectUri::over_ssh() const {
  return transport == Transport::ssh || transport == Transport::libssh2 ||
         transport == Transport::libssh;
}

bool ConnectUri::over_tls() const {
  return transport == Transport::tls || (transport == Transport::none && !uri.host.empty());
}

std::string ConnectUri::host() const { return uri.host.empty() ? "localhost" : uri.host; }

std::string ConnectUri::open_name() const { return name ? *name : name_with(*this, false); }
std::string ConnectUri::helper_name() const { return name ? *name : name_with(*this, true); }

Result<ConnectUri> parse_connect_uri(std::string_view text) {
  auto uri = parse_uri(text);
  if (!uri) return std::unexpected(std::move(uri).error());
  ConnectUri out{.uri = *std::move(uri)};
  const std::string& scheme = out.uri.scheme;
  const std::size_t plus = scheme.find('+');
  out.driver = scheme.substr(0, plus);
  if (plus != std::string::npos) {
    const std::string_view wanted = std::string_view(scheme).substr(plus + 1);
    const auto found = std::ranges::find(kTransports, wanted);
    if (wanted.empty() || found == kTransports.end())
      return bad(fmt::format("{}: there is no transport \"{}\"{}", out.to_string(), wanted,
                             did_you_mean(wanted, kTransports)));
    out.transport = static_cast<Transport>(found - kTransports.begin());
  }
  for (const Uri::Param& p : out.uri.query)
    if (auto set = set_parameter(p, out); !set) return std::unexpected(std::move(set).error());
  if (auto good = check(out); !good) return std::unexpected(std::move(good).error());
  return out;
}

bool is_bare_host(std::string_view text) {
  if (text.empty() || text.find_first_of("/?#") != std::string_view::npos) return false;
  if (is_ipv6_literal(text)) return true;
  const auto as_uri = parse_uri(fmt::format("x://{}", text));
  if (!as_uri || as_uri->host.empty()) return false;
  // "test:default" is a URI without slashes, "host:22" is not: the port tells.
  return text.find(':') == std::string_view::npos || is_ipv6_literal(as_uri->host) ||
         as_uri->port != 0;
}

Result<ConnectUri> on_host(const ConnectUri& like, std::string_view host) {
  if (!is_bare_host(host))
    return bad(fmt::format("\"{}\" is neither a URI nor a host name", escaped(host, 256)));
  Uri out{.scheme = like.driver + "+ssh", .authority = true, .path = like.uri.path};
  auto there = parse_uri(is_ipv6_literal(host) ? fmt::format("x://[{}]", host)
                                               : fmt::format("x://{}", host));
  if (!there) return std::unexpected(std::move(there).error());
  out.user = there->user;
  if (!there->password.empty())
    return bad("a password does not belong in a host name; leave it out and it is asked for");
  out.host = there->host;
  out.port = there->port;
  if (out.path.empty()) out.path = "/";
  std::ranges::copy_if(like.uri.query, std::back_inserter(out.query),
                       [](const Uri::Param& p) { return !of_transport(p); });
  return parse_connect_uri(out.to_string());
}

}  // namespace vmferry
