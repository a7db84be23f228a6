#pragma once
#include <string>
#include <string_view>

namespace vmferry {

/// What can be seen of a private key file without its passphrase (OpenSSH's PROTOCOL.key, PEM).
struct KeyFileInfo {
  bool known = false;  ///< one of these two formats
  bool encrypted = false;
  std::string type;  ///< "ssh-ed25519", …; empty when the format does not tell
};
KeyFileInfo inspect_key(std::string_view file_content);

}  // namespace vmferry
