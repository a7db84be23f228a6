#pragma once
// libvirt's client configuration, libvirt.conf (https://libvirt.org/uri.html#default-uri-choice).
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace vmferry {

struct ClientConfig {
  std::optional<std::string> uri_default;
  std::vector<std::pair<std::string, std::string>> uri_aliases;

  /// The URI of an alias.
  std::optional<std::string> alias(std::string_view name) const;
};

/// Parses one file: `key = "text" | number | [ "text", … ]`, comments with "#". Keys that we do not
/// use are skipped. At most 1 MiB. Errors: usage, with file and line.
Result<ClientConfig> parse_client_config(std::string_view text, std::string_view file);

/// The value of an environment variable; nothing when unset or empty.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
std::optional<std::string> process_environment(const std::string& name);

/// The user's file ($XDG_CONFIG_HOME/libvirt/libvirt.conf; not for root, as in libvirt), and for
/// what it does not set the system's. Files that do not exist are empty ones. Errors: usage, io.
Result<ClientConfig> load_client_config(
    const Environment& env, bool root,
    const std::string& system_file = "/etc/libvirt/libvirt.conf");

/// The connection URI to use: `given` (an alias or a URI; empty: not given), else VMFERRY_URI,
/// LIBVIRT_DEFAULT_URI, uri_default, and at last qemu:///system for root, qemu:///session for
/// others.
std::string choose_uri(std::string_view given, const ClientConfig& config, const Environment& env,
                       bool root);

}  // namespace vmferry
