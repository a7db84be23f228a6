#include "core/xml/domain.hpp"

#include <doctest/doctest.h>

using namespace vmferry;

static constexpr std::string_view kGuest = R"(<domain type='kvm' id='3'>
  <name>web1</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <memory unit='GiB'>2</memory>
  <vcpu>4</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <cpu mode='custom'><model>Skylake</model><feature policy='require' name='vmx'/></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='/var/lib/a.qcow2'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='network' device='cdrom'>
      <source protocol='rbd' name='pool/x'><host name='mon' port='6789'/></source>
      <target dev='sda'/><readonly/><shareable/>
    </disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
    <hostdev mode='subsystem' type='pci'/>
  </devices>
</domain>)";

TEST_CASE("domain xml: what is asked of it") {
  const auto d = xml::parse_domain(kGuest);
  REQUIRE(d);
  CHECK(d->name == "web1");
  CHECK(to_string(*d->uuid) == "11111111-2222-3333-4444-555555555555");
  CHECK(d->memory_kib == 2 * 1024 * 1024);
  CHECK(d->current_memory_kib == d->memory_kib);
  CHECK(d->vcpus == 4);
  CHECK(d->machine == "pc-q35-7.2");
  CHECK(d->cpu_required == std::vector<std::string>{"vmx"});
  REQUIRE(d->disks.size() == 2);
  CHECK(d->disks[0].source == "/var/lib/a.qcow2");
  CHECK(d->disks[0].cache == "none");
  CHECK(d->disks[1].source == "rbd:pool/x");
  CHECK(d->disks[1].hosts == std::vector<std::string>{"mon:6789"});
  CHECK(d->disks[1].readonly);
  CHECK(d->disks[1].shareable);
  REQUIRE(d->interfaces.size() == 1);
  CHECK(d->interfaces[0].source == "br0");
  CHECK(d->hostdevs == std::vector<std::string>{"pci"});
}

TEST_CASE("domain xml: what is refused") {
  const auto refused = [](std::string_view text) {
    const auto d = xml::parse_domain(text);
    REQUIRE_FALSE(d);
    CHECK(d.error().id == ErrorId::xml);
    return d.error().message;
  };
  CHECK(refused("").contains("malformed"));
  CHECK(refused("<domain><name>x</domain>").contains("line 1"));
  CHECK(refused("<pool/>").contains("<pool>"));
  CHECK(refused("<domain/>").contains("no name"));
  CHECK(refused("<domain><name>x</name><uuid>1</uuid></domain>").contains("no UUID"));
  CHECK(refused("<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name>"
                "</domain>")
            .contains("DOCTYPE"));
  CHECK(refused(std::string(xml::kMostBytes + 1, ' ')).contains("MiB"));
}

TEST_CASE("xml: edits") {
  auto doc = xml::Doc::parse(kGuest);
  REQUIRE(doc);
  doc->root().at("name").set_text("a<b");
  doc->root().unset("id");
  doc->root().at("devices/disk").remove();
  doc->root().add("title").set_text("t");
  const auto again = xml::Doc::parse(doc->to_string());
  REQUIRE(again);
  CHECK(again->root().at("name").text() == "a<b");
  CHECK_FALSE(again->root().attribute("id"));
  CHECK(again->root().at("devices").children("disk").size() == 1);
  CHECK(again->root().at("title").text() == "t");
  CHECK_FALSE(again->root().at("no/such"));
}
