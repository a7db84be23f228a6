// A known_hosts file may hold anything; only a key that stands in it matches.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "transports/ssh/config.hpp"
#include "transports/ssh/known_hosts.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  vmferry::KnownHosts hosts;
  hosts.add(text, "fuzz");
  const vmferry::HostKey absent{"ssh-ed25519", "no such key is ever in the input: \x01\x02\x03"};
  const auto answer = hosts.check("host", 2222, absent);
  const bool trusted = answer.verdict == vmferry::HostKeyVerdict::match;
  if (trusted && text.find("bm8gc3VjaCBrZXk") == std::string_view::npos) std::abort();
  (void)hosts.types("host", 22);
  (void)vmferry::parse_ssh_config(text);
  return 0;
}
