#include "core/drivers/qmp/inherit.hpp"

#include <doctest/doctest.h>

using namespace vmferry;
using qmp::Descriptor;
using qmp::Observed;
using qmp::Words;

namespace {
Observed seen(Words argv) {
  Observed o;
  o.argv = std::move(argv);
  o.argv.insert(o.argv.begin(), "./qemu");
  o.program = "/usr/bin/qemu-system-x86_64";
  o.directory = "/srv/web1";
  return o;
}
}  // namespace

TEST_CASE("qmp inherit: what belongs to the start alone is dropped, the pid file remembered") {
  const auto heir = qmp::inherit(seen({"-S", "-daemonize", "-pidfile", "run/pid", "-incoming",
                                       "defer", "-loadvm", "-S", "-nodefaults", "-m", "64"}));
  CHECK(heir.argv == Words{"/usr/bin/qemu-system-x86_64", "-nodefaults", "-m", "64"});
  CHECK(heir.pid_file == "/srv/web1/run/pid");
  CHECK(heir.cannot.empty());
  CHECK(heir.remarks.empty());
}

TEST_CASE("qmp inherit: a value that looks like an option is left alone") {
  const auto heir = qmp::inherit(seen({"-append", "-S", "-nographic", "disk.img"}));
  CHECK(heir.argv ==
        Words{"/usr/bin/qemu-system-x86_64", "-append", "-S", "-nographic", "disk.img"});
  CHECK(heir.remarks.size() == 1);
}

TEST_CASE("qmp inherit: passed descriptors that have a name are opened by it") {
  Observed o = seen({"-chardev", "socket,id=a,fd=5,server=on", "-chardev",
                     "socket,id=b,fd=6,server=on,wait=off", "-netdev", "tap,id=n,fd=7,vhostfd=8",
                     "-add-fd", "fd=9,set=2", "-drive", "file=/dev/fdset/2"});
  o.descriptors[5] = {Descriptor::Kind::unix_listener, "/run/a.sock"};
  o.descriptors[6] = {Descriptor::Kind::tcp_listener, "127.0.0.1:7000"};
  o.descriptors[7] = {Descriptor::Kind::tap, "tap3"};
  o.descriptors[9] = {Descriptor::Kind::file, "/srv/disk.img"};
  const auto heir = qmp::inherit(o);
  CHECK(heir.argv == Words{"/usr/bin/qemu-system-x86_64", "-chardev",
                           "socket,id=a,path=/run/a.sock,server=on,wait=off", "-chardev",
                           "socket,id=b,host=127.0.0.1,port=7000,server=on,wait=off", "-netdev",
                           "tap,id=n,ifname=tap3,script=no,downscript=no,vhost=on", "-drive",
                           "file=/srv/disk.img"});
  CHECK(heir.here_only.empty());
  CHECK(heir.remarks.size() == 4);
}

TEST_CASE("qmp inherit: descriptors without a name keep the guest on this host") {
  Observed o = seen({"-chardev", "socket,id=a,fd=5", "-netdev", "tap,id=n,fds=7:8", "-add-fd",
                     "fd=9,set=2", "-netdev", "socket,id=m,fd=10"});
  o.descriptors[5] = {Descriptor::Kind::socket, "socket:[1]"};
  const auto heir = qmp::inherit(o);
  CHECK(heir.here_only.size() == 4);
  CHECK(heir.cannot.empty());
  CHECK(heir.argv.size() == o.argv.size());
}

TEST_CASE("qmp inherit: what no other process could have is an objection, with its reason") {
  const auto heir = qmp::inherit(
      seen({"-snapshot", "-runas", "kvm", "-chroot", "/j", "-drive", "file=a,snapshot=on",
            "-tpmdev", "emulator,id=t,chardev=c", "-run-with", "user=kvm"}));
  REQUIRE(heir.cannot.size() == 6);
  CHECK(heir.cannot[0].starts_with("-snapshot: "));
  CHECK(heir.cannot[1].starts_with("-runas kvm: "));
}

TEST_CASE("qmp inherit: relative names of sockets get their directory, and nobody waits") {
  const auto heir = qmp::inherit(seen({"-qmp", "unix:q,server", "-serial", "unix:/s,server,wait",
                                       "-vnc", "unix:v", "-chardev", "socket,id=c,path=p"}));
  CHECK(heir.argv == Words{"/usr/bin/qemu-system-x86_64", "-qmp",
                           "unix:/srv/web1/q,server,wait=off", "-serial", "unix:/s,server,wait=off",
                           "-vnc", "unix:/srv/web1/v", "-chardev", "socket,id=c,path=/srv/web1/p"});
  CHECK(heir.remarks.size() == 1);  // something must listen where c connects to
}

TEST_CASE("qmp inherit: whoever would start it again is named") {
  Observed o = seen({});
  o.unit = "web1.service";
  const auto heir = qmp::inherit(o);
  REQUIRE(heir.remarks.size() == 1);
  CHECK(heir.remarks[0].find("web1.service") != std::string::npos);
}
