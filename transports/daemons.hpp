#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace vmferry {

/// The modular daemon of a driver: "virtqemud" for "qemu" (https://libvirt.org/daemons.html).
std::optional<std::string_view> daemon_name(std::string_view driver);

/// What to do when no daemon of that driver answers.
std::string daemon_remedy(std::string_view driver, bool session);

}  // namespace vmferry
