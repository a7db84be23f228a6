#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "core/base/config.hpp"
#include "core/base/uri.hpp"

namespace vmferry {

/// The modular daemon of a driver: "virtqemud" for "qemu" (https://libvirt.org/daemons.html).
std::optional<std::string_view> daemon_name(std::string_view driver);

/// The program that serves a user's session, found in PATH and where daemons are: the driver's own
/// or libvirtd, as mode= says. None: not installed, or LIBVIRT_AUTOSTART=0 forbids it.
std::optional<std::string> session_daemon(const ConnectUri& uri, const Environment& env);

/// What to do when no daemon of that driver answers.
std::string daemon_remedy(std::string_view driver, bool session);

}  // namespace vmferry
