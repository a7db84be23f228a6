#include "transports/ssh/known_hosts.hpp"

#include <doctest/doctest.h>

#include "transports/ssh/crypto.hpp"

using namespace vmferry;

namespace {

// A key's wire form: its type as a string, then anything.
std::string blob(std::string_view type, std::string_view rest) {
  std::string out{'\0', '\0', '\0', static_cast<char>(type.size())};
  return out.append(type).append(rest);
}
HostKey key(std::string_view type, std::string_view rest) {
  return {std::string(type), blob(type, rest)};
}
std::string line(const std::string& names, const HostKey& k) {
  return names + " " + k.type + " " + base64(k.blob) + " a comment\n";
}

const HostKey kOne = key("ssh-ed25519", "one"), kTwo = key("ssh-ed25519", "two"),
              kRsa = key("ssh-rsa", "rsa");

}  // namespace

TEST_CASE("known_hosts: base64 and fingerprint") {
  for (const char* text : {"", "a", "ab", "abc", "abcd"}) {
    CHECK(unbase64(base64(text)) == text);
  }
  CHECK(base64("Man") == "TWFu");
  CHECK(base64("Ma") == "TWE=");
  for (const char* text : {"a", "abc", "ab=c", "a===", "ab c", "====="})
    CHECK_FALSE(unbase64(text));
  // sha256("") in base64
  CHECK(fingerprint("") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
}

TEST_CASE("known_hosts: match, unknown, changed, other type") {
  KnownHosts hosts;
  hosts.add("# a comment\n\ngarbage\nhost ssh-ed25519 !!!\n" + line("host,10.0.0.1", kOne) +
                line("*.example.org,!bad.example.org", kOne) + line("host", kRsa),
            "file");
  CHECK(hosts.check("host", 22, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("HOST", 22, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("10.0.0.1", 22, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("a.example.org", 22, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("bad.example.org", 22, kOne).verdict == HostKeyVerdict::unknown);
  CHECK(hosts.check("other", 22, kOne).verdict == HostKeyVerdict::unknown);
  const HostKeyAnswer changed = hosts.check("host", 22, kTwo);
  CHECK(changed.verdict == HostKeyVerdict::changed);
  CHECK(changed.file == "file");
  CHECK(changed.line == 5);
  CHECK(hosts.check("10.0.0.1", 22, kRsa).verdict == HostKeyVerdict::other_type);
  CHECK(hosts.types("host", 22) == std::vector<std::string>{"ssh-ed25519", "ssh-rsa"});
}

TEST_CASE("known_hosts: ports") {
  KnownHosts hosts;
  hosts.add(line("[host]:2222", kOne) + line("host", kTwo), "file");
  CHECK(hosts.check("host", 2222, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("host", 22, kOne).verdict == HostKeyVerdict::changed);
  // A key that is known without a port is good on any, as in OpenSSH; another is just unknown.
  CHECK(hosts.check("host", 2223, kTwo).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("host", 2223, kOne).verdict == HostKeyVerdict::unknown);
  CHECK(known_name("FE80::1", 22) == "fe80::1");
  CHECK(known_name("h", 2222) == "[h]:2222");
}

TEST_CASE("known_hosts: hashed names") {
  // ssh-keygen -H, OpenSSH 9.2: the salt is the key of an HMAC-SHA1 over the name.
  const std::string salt = "0123456789abcdefghij";
  const auto hashed = [&](const std::string& name) {
    return "|1|" + base64(salt) + "|" + base64(hmac_sha1(salt, name));
  };
  KnownHosts hosts;
  hosts.add(line(hashed("host"), kOne) + line(hashed("[host]:2222"), kTwo), "file");
  CHECK(hosts.check("host", 22, kOne).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("host", 2222, kTwo).verdict == HostKeyVerdict::match);
  CHECK(hosts.check("other", 22, kOne).verdict == HostKeyVerdict::unknown);
  CHECK_FALSE(names_match("|1|x|y", "host"));
  CHECK_FALSE(names_match("|2|" + base64(salt) + "|" + base64(hmac_sha1(salt, "host")), "host"));
}

TEST_CASE("known_hosts: markers") {
  KnownHosts hosts;
  hosts.add(
      "@cert-authority " + line("*", kOne) + line("host", kTwo) + "@revoked " + line("*", kTwo),
      "file");
  CHECK(hosts.check("host", 22, kTwo).verdict == HostKeyVerdict::revoked);
  CHECK(hosts.check("host", 22, kTwo).line == 3);
  CHECK(hosts.check("elsewhere", 22, kOne).verdict == HostKeyVerdict::unknown);
}

TEST_CASE("known_hosts: an entry whose type and key disagree is none") {
  KnownHosts hosts;
  hosts.add("host ssh-rsa " + base64(kOne.blob) + "\n", "file");
  CHECK(hosts.check("host", 22, kOne).verdict == HostKeyVerdict::unknown);
  CHECK(key_type("") == "");
  CHECK(key_type(std::string("\xff\xff\xff\xff", 4)) == "");
}

TEST_CASE("known_hosts: patterns") {
  CHECK(names_match("ho?t", "host"));
  CHECK(names_match("*", "host"));
  CHECK(names_match("*t*", "host"));
  CHECK_FALSE(names_match("ho?", "host"));
  CHECK_FALSE(names_match("", "host"));
  CHECK_FALSE(names_match("*,!host", "host"));
  CHECK_FALSE(names_match("!other", "host"));
  CHECK_FALSE(names_match(std::string(60, '*') + "x", std::string(200, 'a')));
}
