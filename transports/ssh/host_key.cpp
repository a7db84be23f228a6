#include "transports/ssh/host_key.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/text.hpp"
#include "transports/ssh/crypto.hpp"

namespace vmferry {
namespace {

// What libssh2 can verify, the stronger first. ssh-rsa stands for all RSA keys.
constexpr std::array<std::string_view, 5> kTypes{
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"};

KnownHostsVerify chosen(const ConnectUri& uri) {
  if (uri.no_verify) return KnownHostsVerify::ignore;
  return uri.known_hosts_verify.value_or(KnownHostsVerify::normal);
}

std::string scan_command(const std::string& name, std::uint16_t port, const std::string& type,
                         const std::string& file) {
  std::string short_type = type.starts_with("ssh-") ? type.substr(4) : type;
  if (short_type.starts_with("ecdsa")) short_type = "ecdsa";
  const std::string port_option = port == 22 ? "" : fmt::format("-p {} ", port);
  return fmt::format("ssh-keyscan {}-t {} {} >> {}", port_option, short_type, shell_quoted(name),
                     shell_quoted(file));
}

}  // namespace

HostKeyPolicy::HostKeyPolicy(const ConnectUri& uri, const SshConfig& config)
    : name_(config.host_key_alias.empty() ? config.hostname : config.host_key_alias),
      port_(config.host_key_alias.empty() ? config.port : std::uint16_t{22}),
      files_(config.known_hosts_files),
      verify_(chosen(uri)) {
  for (const std::string& file : files_) {
    std::ifstream in(file, std::ios::binary);
    std::error_code unknown;
    if (!in && std::filesystem::exists(file, unknown))
      throw Error(ErrorId::io, fmt::format("cannot read the known hosts of {}", escaped(file)));
    if (!in) continue;
    std::ostringstream text;
    text << in.rdbuf();
    known_.add(text.str(), file);
  }
}

std::string HostKeyPolicy::preferred_types() const {
  const std::vector<std::string> known = known_.types(name_, port_);
  std::vector<std::string> order;
  const auto add_if = [&](bool wanted) {
    for (const std::string_view type : kTypes)
      if ((std::ranges::find(known, type) != known.end()) == wanted) order.emplace_back(type);
  };
  add_if(true);
  add_if(false);
  return joined(order, ",");
}

void HostKeyPolicy::judge(const HostKey& key,
                          const std::function<void(const std::string&)>& warn) const {
  const HostKeyAnswer answer = known_.check(name_, port_, key);
  if (answer.verdict == HostKeyVerdict::match) return;
  const std::string shown = fmt::format("{} key {}", key.type, fingerprint(key.blob));
  const std::string name = known_name(name_, port_);
  if (verify_ == KnownHostsVerify::ignore)
    return warn(fmt::format("the {} of {} was not verified, as the URI asks", shown, name));
  const bool fresh = answer.verdict == HostKeyVerdict::unknown;
  if (verify_ != KnownHostsVerify::automatic || !fresh) refuse(key, answer);
  add(key);
  warn(fmt::format("the {} of {} was unknown and is now in {}, as the URI asks", shown, name,
                   files_.front()));
}

void HostKeyPolicy::refuse(const HostKey& key, const HostKeyAnswer& answer) const {
  const std::string name = known_name(name_, port_);
  const std::string print = fingerprint(key.blob);
  const std::string file = files_.empty() ? "~/.ssh/known_hosts" : files_.front();
  const std::string scan = scan_command(name_, port_, key.type, file);
  const std::string compare =
      "If this is the fingerprint that the host itself shows (ssh-keygen -lf "
      "/etc/ssh/ssh_host_*_key.pub there)";
  const std::string place = fmt::format("{}:{}", escaped(answer.file), answer.line);
  switch (answer.verdict) {
    case HostKeyVerdict::revoked:
      throw Error(ErrorId::ssh_host_key,
                  fmt::format("the {} key {} of {} is revoked by {}", key.type, print, name, place))
          .advise("Do not connect; the host needs a new key.");
    case HostKeyVerdict::changed:
      throw Error(ErrorId::ssh_host_key,
                  fmt::format("the {} key of {} has CHANGED: it shows {}, but {} has another one. "
                              "Somebody may stand in between",
                              key.type, name, print, place))
          .advise(fmt::format("{}, remove the old one and add it: ssh-keygen -R {} -f {} && {}",
                              compare, shell_quoted(name), shell_quoted(answer.file), scan));
    case HostKeyVerdict::other_type:
      throw Error(ErrorId::ssh_host_key,
                  fmt::format("the {} key {} of {} is unknown; keys of other types are known ({})",
                              key.type, print, name, place))
          .advise(fmt::format("{}, add it: {}", compare, scan));
    case HostKeyVerdict::unknown:
    case HostKeyVerdict::match:
      break;
  }
  throw Error(ErrorId::ssh_host_key, fmt::format("the {} key {} of {} is unknown (looked in {})",
                                                 key.type, print, name, joined(files_, ", ")))
      .advise(fmt::format("{}, add it: {}", compare, scan));
}

void HostKeyPolicy::add(const HostKey& key) const {
  if (files_.empty()) throw Error(ErrorId::io, "no known_hosts file to add the key to");
  const std::filesystem::path file = files_.front();
  std::error_code failure;
  if (file.has_parent_path() && std::filesystem::create_directories(file.parent_path(), failure))
    std::filesystem::permissions(file.parent_path(), std::filesystem::perms::owner_all, failure);
  const std::string line =
      fmt::format("{} {} {}\n", known_name(name_, port_), key.type, base64(key.blob));
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  const bool written =
      fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (fd >= 0) ::close(fd);
  if (!written)
    throw Error(ErrorId::io, fmt::format("cannot add the host key to {}", escaped(file.string())));
}

}  // namespace vmferry
