#pragma once
// Which host is meant: -c, the environment, libvirt.conf, or what is found on this machine.
#include <functional>
#include <string>

#include "cli/context.hpp"

namespace vmferry::cli {

/// -c, then VMFERRY_URI, VIRSH_DEFAULT_CONNECT_URI, LIBVIRT_DEFAULT_URI, uri_default; aliases
/// resolved. Empty when nothing names one.
std::string named_uri(const std::string& option, const Environment& environment,
                      const ClientConfig& config);

/// The daemon that serves this machine: the first whose socket exists. Errors: connect_failed.
Result<std::string> local_uri(const Environment& environment, bool root,
                              const std::function<bool(const std::string& path)>& exists);

}  // namespace vmferry::cli
