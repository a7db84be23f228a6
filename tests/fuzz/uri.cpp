// Whatever parses must print, and what it prints must parse to the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/base/config.hpp"
#include "core/base/uri.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto uri = vmferry::parse_uri(text)) {
    uri->password.clear();
    const auto again = vmferry::parse_uri(uri->to_string());
    if (again && again->to_string() != uri->to_string()) std::abort();
  }
  if (const auto connect = vmferry::parse_connect_uri(text)) {
    (void)connect->open_name();
    (void)connect->helper_name();
    (void)vmferry::on_host(*connect, text);
  }
  if (const auto migrate = vmferry::parse_migrate_uri(text)) (void)migrate->with_port(1);
  (void)vmferry::is_bare_host(text);
  (void)vmferry::parse_client_config(text, "fuzz");
  return 0;
}
