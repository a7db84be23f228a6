#pragma once
// Which host is meant: -c, the environment, libvirt.conf, or what is found on this machine.
#include <functional>
#include <map>
#include <string>

#include "cli/context.hpp"

namespace vmferry::cli {

/// What concerns us of libvirt.conf (https://libvirt.org/uri.html): uri_default and uri_aliases.
struct ClientConfig {
  std::string uri_default;
  std::map<std::string, std::string> aliases;
};
/// Errors: usage, with file and line.
Result<ClientConfig> parse_client_config(std::string_view text, std::string_view file);

/// The user's file ($XDG_CONFIG_HOME/libvirt/libvirt.conf), for root the system's.
ClientConfig load_client_config(const Environment& environment, bool root);

/// -c, then VMFERRY_URI, VIRSH_DEFAULT_CONNECT_URI, LIBVIRT_DEFAULT_URI, uri_default; aliases
/// resolved. Empty when nothing names one.
std::string named_uri(const std::string& option, const Environment& environment,
                      const ClientConfig& config);
std::string resolve_alias(const std::string& uri, const ClientConfig& config);

/// The daemon that serves this machine: the first whose socket exists. Errors: connect_failed.
Result<std::string> local_uri(const Environment& environment, bool root,
                              const std::function<bool(const std::string& path)>& exists);

}  // namespace vmferry::cli
