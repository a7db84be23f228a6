#include "core/drivers/qmp/command_line.hpp"

#include <doctest/doctest.h>

#include "core/base/units.hpp"
#include "core/drivers/qmp/definition.hpp"

using namespace vmferry;
using qmp::Words;

TEST_CASE("qmp command line: words as a shell splits them") {
  const auto words = qmp::split_words("qemu -name 'a b' \\\n -m \"1\\\"G\" # comment\n x\\ y ''");
  REQUIRE(words);
  CHECK(*words == Words{"qemu", "-name", "a b", "-m", "1\"G", "x y", ""});
  CHECK_FALSE(qmp::split_words("a 'b"));
  CHECK_FALSE(qmp::split_words(std::string(10000, 'a') + " " + [] {
    std::string many;
    for (int i = 0; i < 5000; ++i) many += "x ";
    return many;
  }()));
}

TEST_CASE("qmp command line: the machine's alias becomes the real type, its options stay") {
  Words argv{"qemu", "-M", "pc,usb=off", "--machine", "accel=tcg"};
  qmp::pin_machine(argv, "pc-i440fx-7.2");
  CHECK(argv == Words{"qemu", "-M", "pc-i440fx-7.2,usb=off", "--machine", "accel=tcg"});
  Words typed{"qemu", "-machine", "accel=tcg,type=q35"};
  qmp::pin_machine(typed, "pc-q35-7.2");
  CHECK(typed[2] == "pc-q35-7.2,accel=tcg");
  Words none{"qemu"};
  qmp::pin_machine(none, "pc-i440fx-7.2");
  CHECK(none == Words{"qemu", "-machine", "pc-i440fx-7.2"});
}

TEST_CASE("qmp command line: identity replaces what was there, other parts of -name stay") {
  Words argv{"qemu", "-name", "old,debug-threads=on", "-uuid", "1"};
  qmp::set_identity(argv, "a,b", "2");
  CHECK(argv == Words{"qemu", "-name", "guest=a,,b,debug-threads=on", "-uuid", "2"});
  Words again = argv;
  qmp::set_identity(again, "a,b", "2");
  CHECK(again == argv);
}

TEST_CASE("qmp command line: how much RAM, and whether it may be replaced by shared memory") {
  const auto ram = [](Words argv) { return qmp::ram_of(argv); };
  CHECK(ram({"qemu-system-x86_64"}).bytes == 128 * kMiB);
  CHECK(ram({"qemu-system-x86_64", "-m", "64"}).bytes == 64 * kMiB);
  CHECK(ram({"qemu-system-x86_64", "-m", "1G"}).bytes == kGiB);
  CHECK(ram({"qemu-system-x86_64", "-m", "size=2G,slots=4,maxmem=8G"}).bytes == 2 * kGiB);
  CHECK(ram({"qemu-system-x86_64", "-m", "64"}).own.empty());
  CHECK_FALSE(ram({"qemu-system-x86_64", "-M", "pc,memory-backend=x"}).own.empty());
  CHECK_FALSE(ram({"qemu-system-x86_64", "-numa", "node"}).own.empty());
  CHECK_FALSE(ram({"qemu-system-aarch64"}).own.empty());
  Words argv{"qemu-system-x86_64", "-m", "64"};
  qmp::share_ram(argv, 64 * kMiB, 9);
  CHECK_FALSE(qmp::ram_of(argv).own.empty());
}

TEST_CASE("qmp definition: a command line becomes XML, and comes back as it was") {
  const auto xml = qmp::xml_of_command_line(
      {"qemu-system-x86_64", "-m", "64", "-append", "a <b> \"c\" & ''"}, "g1");
  REQUIRE(xml);
  const auto d = qmp::read_definition(*xml);
  REQUIRE(d);
  CHECK(d->name == "g1");
  CHECK(d->memory_kib == 64 * 1024);
  CHECK(qmp::value_of(d->argv, "append") == "a <b> \"c\" & ''");
  CHECK(qmp::value_of(d->argv, "uuid") == to_string(d->uuid));
  const auto other = qmp::renamed(*d, "g2");
  REQUIRE(other);
  CHECK(other->uuid == d->uuid);
  CHECK(qmp::value_of(other->argv, "name") == "guest=g2");
}

TEST_CASE("qmp definition: what cannot be done is refused by name") {
  const auto bad = [](Words argv) { return qmp::xml_of_command_line(std::move(argv), "g"); };
  for (const char* word : {"-daemonize", "--daemonize", "-incoming", "-S", "-pidfile"}) {
    const auto refused = bad({"qemu-system-x86_64", word, "x"});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().id == ErrorId::unsupported);
  }
  CHECK_FALSE(qmp::xml_of_command_line({"qemu"}, ""));
  CHECK_FALSE(qmp::xml_of_command_line({"qemu"}, "../x"));
  const auto tpm = qmp::read_definition(
      "<domain type='qemu'><name>a</name><memory>65536</memory><devices><tpm/>"
      "<hostdev/></devices></domain>");
  REQUIRE_FALSE(tpm);
  CHECK(tpm.error().id == ErrorId::unsupported);
  CHECK(tpm.error().message.find("<tpm>") != std::string::npos);
  CHECK(tpm.error().message.find("<hostdev>") != std::string::npos);
}

TEST_CASE("qmp definition: libvirt's XML becomes a command line") {
  const auto d = qmp::read_definition(R"(<domain type='kvm'
      xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <name>web,1</name><uuid>00112233-4455-6677-8899-aabbccddeeff</uuid>
    <memory unit='MiB'>64</memory><vcpu>2</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
    <cpu mode='custom'><model>Nehalem</model><feature name='avx' policy='disable'/></cpu>
    <devices><emulator>/usr/bin/q</emulator>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>
        <source file='/a,b'/><target dev='vda' bus='virtio'/></disk>
      <interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
      <serial type='pty'/><console type='pty'><target type='serial'/></console>
      <graphics type='vnc' port='5901' listen='127.0.0.1'/><video><model type='vga'/></video>
      <memballoon model='none'/></devices>
    <qemu:commandline><qemu:arg value='-no-hpet'/></qemu:commandline></domain>)");
  REQUIRE(d);
  CHECK(d->argv[0] == "/usr/bin/q");
  CHECK(qmp::value_of(d->argv, "name") == "guest=web,,1");
  CHECK(qmp::value_of(d->argv, "smp") == "2");
  CHECK(qmp::value_of(d->argv, "cpu") == "Nehalem,-avx");
  CHECK(qmp::value_of(d->argv, "drive") == "id=disk0,if=none,format=qcow2,file=/a,,b,cache=none");
  CHECK(qmp::value_of(d->argv, "vnc") == "127.0.0.1:1");
  CHECK(qmp::value_of(d->argv, "vga") == "std");
  CHECK(d->argv.back() == "-no-hpet");
  CHECK(d->memory_kib == 65536);
}
