#pragma once

namespace vmferry {

/// What `vmferry serve --stdio` and whoever starts it on another host expect of each other beyond
/// libvirt's protocol. It changes only when they would misunderstand each other.
inline constexpr unsigned kServeProtocol = 1;

}  // namespace vmferry
