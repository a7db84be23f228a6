#include "transports/daemons.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"

namespace vmferry {

struct Daemon {
  std::string_view driver, name;
};
static constexpr std::array<Daemon, 13> kDaemons{{{"qemu", "virtqemud"},
                                                  {"xen", "virtxend"},
                                                  {"lxc", "virtlxcd"},
                                                  {"vbox", "virtvboxd"},
                                                  {"bhyve", "virtbhyved"},
                                                  {"vz", "virtvzd"},
                                                  {"ch", "virtchd"},
                                                  {"network", "virtnetworkd"},
                                                  {"storage", "virtstoraged"},
                                                  {"secret", "virtsecretd"},
                                                  {"nodedev", "virtnodedevd"},
                                                  {"nwfilter", "virtnwfilterd"},
                                                  {"interface", "virtinterfaced"}}};

std::optional<std::string_view> daemon_name(std::string_view driver) {
  const auto* daemon = std::ranges::find(kDaemons, driver, &Daemon::driver);
  return daemon == kDaemons.end() ? std::nullopt : std::optional(daemon->name);
}

static std::optional<std::string> find_program(std::string_view name, const Environment& env) {
  const std::string path =
      env("PATH").value_or("/usr/bin:/bin") + ":/usr/sbin:/sbin:/usr/local/sbin";
  for (const std::string_view dir : split(path, ':')) {
    std::string candidate = fmt::format("{}/{}", dir, name);
    if (!dir.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::optional<std::string> session_daemon(const ConnectUri& uri, const Environment& env) {
  if (env("LIBVIRT_AUTOSTART") == "0") return {};
  const auto own = daemon_name(uri.driver);
  if (own && uri.mode != DaemonMode::legacy)
    if (auto found = find_program(*own, env)) return found;
  if (uri.mode == DaemonMode::direct) return {};
  return find_program("libvirtd", env);
}

std::string daemon_remedy(std::string_view driver, bool session) {
  const std::string_view name = daemon_name(driver).value_or("libvirtd");
  if (session)
    return fmt::format(
        "Start your own daemon ({} --daemon, or libvirtd --daemon), or connect to "
        "{}:///system.",
        name, driver);
  return fmt::format(
      "Start the daemon: systemctl start {}.socket (or libvirtd.socket); it comes "
      "with libvirt's package for {}.",
      name, driver);
}

}  // namespace vmferry
