#include <cstddef>
#include <cstdint>

#include "core/xml/domain.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)vmferry::xml::parse_domain(text);
  return 0;
}
