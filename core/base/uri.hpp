#pragma once
// URIs (RFC 3986): connection URIs (https://libvirt.org/uri.html) and migration URIs
// (https://libvirt.org/migration.html#uris).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

namespace vmferry {

/// A URI in parts, percent-decoded. At most 8192 bytes; NUL, controls and spaces are refused.
struct Uri {
  struct Param {
    std::string name, value;
    bool operator==(const Param&) const = default;
  };
  std::string scheme;  ///< lower case
  std::string user;
  std::string password;    ///< never printed
  std::string host;        ///< IPv6 literals without brackets
  std::uint16_t port = 0;  ///< 0: not given
  bool authority = false;  ///< had "//" after the scheme
  std::string path;
  std::vector<Param> query;  ///< in order; "a" is the same as "a="
  std::string fragment;

  /// The value of the last parameter of that name.
  std::optional<std::string> param(std::string_view name) const;
  /// Normalised: only what must be is percent-encoded. Without the password.
  std::string to_string() const;
  bool operator==(const Uri&) const = default;
};

/// Errors: uri_invalid, naming the part; a port outside 1..65535 is one.
Result<Uri> parse_uri(std::string_view text);

bool is_ipv6_literal(std::string_view host);
/// host:port for people and for URIs: IPv6 literals in brackets; no ":port" for 0.
std::string host_port(std::string_view host, std::uint16_t port);

enum class Transport : std::uint8_t { none, unix_, tcp, tls, ssh, libssh2, libssh, ext };
std::string_view name(Transport transport);
enum class DaemonMode : std::uint8_t { automatic, legacy, direct };
enum class SshProxy : std::uint8_t { automatic, netcat, native };
enum class KnownHostsVerify : std::uint8_t { normal, automatic, ignore };

/// A connection URI, checked: `driver[+transport]://[user@][host][:port]/path?parameters`.
struct ConnectUri {
  Uri uri;             ///< everything, as given
  std::string driver;  ///< the scheme before "+": qemu, xen, test, qmp, …
  Transport transport = Transport::none;

  // Parameters meant for the transport; they are not sent to the daemon.
  std::optional<std::string> name;     ///< replaces open_name()
  std::optional<std::string> command;  ///< ext: the program to run
  std::optional<std::string> socket, netcat, keyfile, known_hosts, pkipath, tls_priority, auth;
  std::optional<std::string> vmferry;  ///< ours: the vmferry binary on the other host
  std::vector<std::string> sshauth;    ///< agent, privkey, password, keyboard-interactive
  DaemonMode mode = DaemonMode::automatic;
  SshProxy proxy = SshProxy::automatic;
  std::optional<KnownHostsVerify> known_hosts_verify;
  bool no_tty = false, no_verify = false, no_sanity = false;

  std::string host() const;  ///< "localhost" when none is given, as in qemu+tcp:///system
  bool over_ssh() const;
  /// Whether it goes over TLS: +tls, or a host without any transport (libvirt's default).
  bool over_tls() const;
  bool session() const { return uri.path == "/session"; }
  /// The name sent when the connection is opened: no transport, user, host, port, or parameters of
  /// the transport.
  std::string open_name() const;
  /// What virt-ssh-helper is given: open_name() with `mode` and `socket`.
  std::string helper_name() const;
  std::string to_string() const { return uri.to_string(); }
};

/// Errors: uri_invalid (unknown transport or parameter value, a host with +unix, +ext without
/// command=, a password, a user or host that begins with "-").
Result<ConnectUri> parse_connect_uri(std::string_view text);

/// Whether `text` is no URI but `[user@]host[:port]`.
bool is_bare_host(std::string_view text);

/// The kind of connection that `like` is, on the bare host `host`, over ssh.
/// Errors: uri_invalid.
Result<ConnectUri> on_host(const ConnectUri& like, std::string_view host);

/// Where a migration's data goes: tcp, rdma, unix, vzmigr, fd, ssh, … with or without slashes
/// (QEMU's and libvirt's "tcp:host:port"), or a bare host as seen from the source.
struct MigrateUri {
  std::string text;  ///< byte-exact, to be passed on
  Uri uri;           ///< scheme empty for a bare host; "tcp:h:1" has the parts of "tcp://h:1"
  bool slashes = false;

  bool bare() const { return uri.scheme.empty(); }
  /// The same with this port, in the same spelling.
  std::string with_port(std::uint16_t port) const;
};
/// Only the form is checked; which schemes and parts fit is the driver's rule.
/// Errors: uri_invalid.
Result<MigrateUri> parse_migrate_uri(std::string_view text);

}  // namespace vmferry
