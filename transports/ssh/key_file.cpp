#include "transports/ssh/key_file.hpp"

#include <optional>

#include "core/base/text.hpp"
#include "transports/ssh/crypto.hpp"
#include "transports/ssh/known_hosts.hpp"

namespace vmferry {
namespace {

constexpr std::string_view kMagic{"openssh-key-v1\0", 15};

std::string body_of(std::string_view text) {
  std::string out;
  bool inside = false;
  for (const std::string_view line : split(text, '\n')) {
    const std::string_view words = trimmed(line);
    if (words.starts_with("-----"))
      inside = words.starts_with("-----BEGIN");
    else if (inside)
      out += words;
  }
  return out;
}

// A string of the SSH protocol (RFC 4251, section 5), cut off the front.
std::optional<std::string_view> take_string(std::string_view& bytes) {
  if (bytes.size() < 4) return {};
  std::size_t size = 0;
  for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(bytes[i]);
  if (size > bytes.size() - 4) return {};
  const std::string_view out = bytes.substr(4, size);
  bytes.remove_prefix(4 + size);
  return out;
}

KeyFileInfo inspect_openssh(std::string_view text) {
  const auto bytes = unbase64(body_of(text));
  if (!bytes || !bytes->starts_with(kMagic)) return {};
  std::string_view rest = std::string_view(*bytes).substr(kMagic.size());
  const auto cipher = take_string(rest);
  const auto kdf = take_string(rest);
  const auto kdf_options = take_string(rest);
  if (!cipher || !kdf || !kdf_options || rest.size() < 4) return {};
  rest.remove_prefix(4);  // the number of keys
  const auto blob = take_string(rest);
  return {true, *cipher != "none", blob ? key_type(*blob) : ""};
}

}  // namespace

KeyFileInfo inspect_key(std::string_view text) {
  if (text.find("-----BEGIN OPENSSH PRIVATE KEY-----") != std::string_view::npos)
    return inspect_openssh(text);
  if (text.find("PRIVATE KEY-----") == std::string_view::npos) return {};
  KeyFileInfo info{.known = true, .encrypted = text.find("ENCRYPTED") != std::string_view::npos};
  if (text.find("BEGIN RSA PRIVATE") != std::string_view::npos) info.type = "ssh-rsa";
  return info;
}

}  // namespace vmferry
