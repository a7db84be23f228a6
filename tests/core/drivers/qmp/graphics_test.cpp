#include "core/drivers/qmp/graphics.hpp"

#include <doctest/doctest.h>

namespace vmferry::qmp {
namespace {

TEST_CASE("qmp: where spice clients are sent") {
  CHECK(spice_target("spice://display.example:5930") ==
        Json{{"protocol", "spice"}, {"hostname", "display.example"}, {"port", 5930}});
  CHECK(spice_target("spice://[fe80::1]?tlsPort=5931&tlsSubject=CN%3Da") ==
        Json{{"protocol", "spice"},
             {"hostname", "fe80::1"},
             {"tls-port", 5931},
             {"cert-subject", "CN=a"}});
  for (const char* wrong : {"spice://", "spice://h", "vnc://h:5900", "spice://h:1?tlsPort=x",
                            "spice://h?tlsPort=70000", "h:5930"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(spice_target(wrong), Error);
  }
}

}  // namespace
}  // namespace vmferry::qmp
