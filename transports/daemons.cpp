#include "transports/daemons.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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
