#include "cli/connect.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace vmferry::cli {

std::string named_uri(const std::string& option, const Environment& environment,
                      const ClientConfig& config) {
  const auto resolved = [&](const std::string& uri) { return config.alias(uri).value_or(uri); };
  if (!option.empty()) return resolved(option);
  for (const char* name : {"VMFERRY_URI", "VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI"})
    if (const std::optional<std::string> value = environment(name)) return resolved(*value);
  return resolved(config.uri_default.value_or(""));
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
