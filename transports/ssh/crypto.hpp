#pragma once
// The few things of OpenSSL's libcrypto that host keys need.
#include <optional>
#include <string>
#include <string_view>

namespace vmferry {

std::string base64(std::string_view bytes);
/// Strict: no white space, padding required. Nothing for anything else.
std::optional<std::string> unbase64(std::string_view text);
std::string hmac_sha1(std::string_view key, std::string_view message);
/// As OpenSSH prints it: "SHA256:" and base64 without padding.
std::string fingerprint(std::string_view key_blob);

}  // namespace vmferry
