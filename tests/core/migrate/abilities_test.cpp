#include "core/migrate/abilities.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace vmferry;

TEST_CASE("abilities: what a connection can do, as XML, text and JSON") {
  HostView qemu{"QEMU", "qemu:///system", "h", libvirt_version(9, 0, 0), {}};
  qemu.features = {.v2 = true, .v3 = true, .v3_params = true, .p2p = true, .offline = true};
  const std::string xml = abilities_xml(qemu);
  CHECK(xml.contains("<live/>"));
  CHECK(xml.contains("<bandwidth/>"));
  CHECK(xml.contains("<uri_transport>rdma</uri_transport>"));
  CHECK(xml.contains("<protocol version='3-params'/>"));
  CHECK_FALSE(xml.contains("<change_protection/>"));
  CHECK_FALSE(xml.contains("zstd"));
  const auto json = abilities_json(qemu);
  CHECK(json["tunnelled"] == true);
  CHECK(json["compression_methods"].size() == 2);

  HostView xen{"Xen", "xen:///system", "h", libvirt_version(9, 0, 0), {}};
  xen.features = {.v3 = true, .v3_params = true, .p2p = true};
  CHECK(abilities_json(xen)["bandwidth"] == false);
  CHECK(abilities_json(xen)["live"] == true);
  CHECK_FALSE(abilities_xml(xen).contains("<compression>"));

  HostView lxc{"LXC", "lxc:///system", "h", libvirt_version(9, 0, 0), {}};
  CHECK(abilities_text(lxc).contains("protocol versions              none"));
  CHECK(abilities_json(lxc)["live"] == false);
}
