#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/uri.hpp"
#include "transports/ssh/config.hpp"
#include "transports/ssh/known_hosts.hpp"

namespace vmferry {

/// What is known of one host, and what is done with a key that is not.
class HostKeyPolicy {
 public:
  /// Reads the known_hosts files; those that do not exist are empty. Errors: io.
  HostKeyPolicy(const ConnectUri& uri, const SshConfig& config);

  /// libssh2's list of key types to ask for, those that are known first.
  std::string preferred_types() const;

  /// Returns if the key is good. Otherwise throws ssh_host_key with fingerprint, file and line and
  /// the command to add it; under known_hosts_verify=auto an unknown key is added to the first
  /// file, under ignore (or no_verify=1) every key is good. `warn` is told in both cases.
  void judge(const HostKey& key, const std::function<void(const std::string&)>& warn) const;

 private:
  [[noreturn]] void refuse(const HostKey& key, const HostKeyAnswer& answer) const;
  void add(const HostKey& key) const;

  std::string name_;  ///< without the port
  std::uint16_t port_;
  std::vector<std::string> files_;
  KnownHostsVerify verify_;
  KnownHosts known_;
};

}  // namespace vmferry
