#pragma once
// OpenSSH's known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vmferry {

/// A host's public key: "ssh-ed25519", … and its wire form.
struct HostKey {
  std::string type, blob;
};
/// The type that a key's wire form itself names; empty when malformed.
std::string key_type(std::string_view blob);

enum class HostKeyVerdict : std::uint8_t {
  match,
  unknown,     ///< nothing known of the host
  other_type,  ///< keys of other types are known
  changed,     ///< another key of that type is known
  revoked,
};

struct HostKeyAnswer {
  HostKeyVerdict verdict = HostKeyVerdict::unknown;
  std::string file;  ///< where the entry that decided stands; empty for unknown
  int line = 0;
};

/// The entries of any number of files, in order. Lines that cannot be read are skipped, as OpenSSH
/// does; @cert-authority lines do not concern plain keys and are skipped too.
class KnownHosts {
 public:
  /// At most 16 MiB and 100000 entries are kept; what is beyond is unknown, never trusted.
  void add(std::string_view text, const std::string& file);

  /// `host` is a name or address without brackets. For another port than 22 the entry is
  /// "[host]:port"; a match of the plain name is good too, but never a contradiction.
  HostKeyAnswer check(std::string_view host, std::uint16_t port, const HostKey& key) const;

  /// The types of the keys known of the host, in the order of the files, each once.
  std::vector<std::string> types(std::string_view host, std::uint16_t port) const;

 private:
  struct Entry {
    std::string names, file;
    int line = 0;
    bool revoked = false;
    HostKey key;
  };
  HostKeyAnswer check_name(const std::string& name, const HostKey& key) const;
  void add_line(std::string_view line, const std::string& file, int number);
  std::vector<Entry> entries_;
};

/// The name of a host in known_hosts: lower case, with the port unless it is 22.
std::string known_name(std::string_view host, std::uint16_t port);

/// Whether an entry's first field ("a,*.b,!c.b", "|1|salt|hash") names the host.
bool names_match(std::string_view field, std::string_view known_name);

}  // namespace vmferry
