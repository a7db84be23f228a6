#include "core/drivers/qmp/conflicts.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/drivers/qmp/option_value.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

// A first process with some descriptors; a duplicate is /dev/null here.
Belongings first_process() {
  Belongings first;
  first.take = [](int number) -> Result<Fd> {
    if (number > 20) return fail(ErrorId::denied, "may not be taken");
    return Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  };
  first.tap_queues = [](const std::string& device) {
    return device == "t2"   ? std::vector<int>{11, 12}
           : device == "t0" ? std::vector<int>{10}
                            : std::vector<int>{};
  };
  first.listener = [](std::uint16_t port) {
    return port == 4444 ? std::optional<int>(13) : std::nullopt;
  };
  return first;
}

SideBySide beside(const Words& argv) { return side_by_side(argv, ".new", "/v", first_process()); }

std::string number_of(const SideBySide& got, std::size_t n) {
  return std::to_string(got.inherited.at(n).get());
}

}  // namespace

TEST_CASE("qmp side by side: sockets get a temporary name and never wait") {
  const auto got = beside({"q", "-chardev", "socket,id=a,path=/s,server=on,wait=on", "-qmp",
                           "unix:/m,server,nowait", "-chardev", "socket,id=c,path=/c"});
  CHECK(got.impossible.empty());
  CHECK(got.argv == Words{"q", "-chardev", "socket,id=a,path=/s.new,server=on,wait=off", "-qmp",
                          "chardev:vmferry-qmp0", "-chardev", "socket,id=c,path=/c", "-chardev",
                          "socket,id=vmferry-qmp0,path=/m.new,server=on,wait=off"});
  REQUIRE(got.renames.size() == 2);
  CHECK(got.renames[0] == std::pair<std::string, std::string>("/s.new", "/s"));
  CHECK(got.kept[4] == "unix:/m,server,nowait");
}

TEST_CASE("qmp side by side: a log is appended to, VNC waits elsewhere") {
  const auto got = beside(
      {"q", "-chardev", "file,id=a,path=/l", "-vnc", "127.0.0.1:3,x=y", "-serial", "file:/log"});
  CHECK(got.argv[2] == "file,id=a,path=/l,append=on");
  CHECK(got.argv[4] == "unix:/v,x=y");
  CHECK(got.argv.back() == "file,id=vmferry-serial0,path=/log,append=on");
  CHECK(got.vnc_host == "127.0.0.1");
  CHECK(got.vnc_port == "5903");
  CHECK(got.impossible.empty());
}

TEST_CASE("qmp side by side: TAP devices are handed over, every queue") {
  const auto got = beside({"q", "-netdev", "tap,id=n,ifname=t0,script=no,downscript=no,vhost=on",
                           "-netdev", "tap,id=m,ifname=t2,queues=2"});
  CHECK(got.impossible.empty());
  CHECK(got.argv[2] == "tap,id=n,vhost=on,fd=" + number_of(got, 0));
  CHECK(got.argv[4] == "tap,id=m,fds=" + number_of(got, 1) + ":" + number_of(got, 2));
  CHECK(got.kept[4] == "tap,id=m,ifname=t2,queues=2");  // found by its name the next time, too
}

TEST_CASE("qmp side by side: passed descriptors get new numbers, and are remembered by them") {
  const auto got = beside({"q", "-netdev", "tap,id=n,fd=7", "-chardev",
                           "socket,id=c,fd=9,server=on", "-add-fd", "fd=3,set=1"});
  CHECK(got.impossible.empty());
  CHECK(got.argv[2] == "tap,id=n,fd=" + number_of(got, 0));
  CHECK(got.kept[2] == got.argv[2]);
  CHECK(got.argv[4] == "socket,id=c,fd=" + number_of(got, 1) + ",server=on,wait=off");
  CHECK(got.argv[6] == "fd=" + number_of(got, 2) + ",set=1");
  CHECK(beside({"q", "-netdev", "tap,id=n,fd=21"}).impossible.size() == 1);
  CHECK(beside({"q", "-netdev", "tap,id=n,fd=name"}).impossible.size() == 1);
}

TEST_CASE("qmp side by side: a TCP port stays open, its listening socket is handed over") {
  const auto got = beside({"q", "-serial", "tcp:127.0.0.1:4444,server,nowait", "-chardev",
                           "socket,id=c,host=::1,port=4444,server=on,telnet=on"});
  CHECK(got.impossible.empty());
  CHECK(got.argv[2] == "chardev:vmferry-serial0");
  CHECK(got.argv[4] == "socket,id=c,server=on,telnet=on,wait=off,fd=" + number_of(got, 1));
  CHECK(got.argv.back() == "socket,id=vmferry-serial0,server=on,wait=off,fd=" + number_of(got, 0));
  CHECK(got.kept[2] == "tcp:127.0.0.1:4444,server,nowait");
}

TEST_CASE("qmp side by side: forwarded ports, a debugger and a pid file come back afterwards") {
  const auto got = beside({"q", "-netdev", "user,id=n,hostfwd=tcp::1-:2,hostfwd=udp::3-:4", "-s",
                           "-pidfile", "/p", "-daemonize", "-display", "none"});
  CHECK(got.argv == Words{"q", "-netdev", "user,id=n", "-display", "none"});
  CHECK(got.kept == Words{"q", "-netdev", "user,id=n,hostfwd=tcp::1-:2,hostfwd=udp::3-:4", "-s",
                          "-pidfile", "/p", "-display", "none"});
  CHECK(got.pid_file == "/p");
  REQUIRE(got.afterwards.size() == 3);
  CHECK(got.afterwards[0].arguments["command-line"] == "gdbserver tcp::1234");
  CHECK(got.afterwards[1].arguments["command-line"] == "hostfwd_add n tcp::1-:2");
  CHECK(got.losses.size() == 1);
}

TEST_CASE("qmp side by side: what belongs to one process is named") {
  for (const auto& [option, value] : std::vector<std::pair<const char*, const char*>>{
           {"-netdev", "tap,id=n,ifname=unknown"},
           {"-netdev", "tap,id=n"},
           {"-netdev", "socket,id=n,listen=:1"},
           {"-netdev", "vhost-user,id=n,chardev=c"},
           {"-device", "vhost-user-fs-pci,chardev=c"},
           {"-tpmdev", "emulator,id=t,chardev=c"},
           {"-chardev", "socket,id=c,host=h,port=1,server=on"},
           {"-serial", "tcp:h:1,server"},
           {"-serial", "udp:h:1"},
           {"-spice", "port=1"},
           {"-vnc", ":1,websocket=on"}}) {
    INFO(value);
    CHECK(beside({"q", option, value}).impossible.size() == 1);
  }
  CHECK(beside({"q", "-netdev", "user,id=n", "-display", "none"}).impossible.empty());
}

TEST_CASE("qmp option value: taken apart and put together") {
  OptionValue value("tap,id=a,,b,server,nowait,fd=3,fd=4");
  CHECK(value.kind() == "tap");
  CHECK(value.get("id") == "a,b");
  CHECK(value.on("server"));
  CHECK(value.get("fd") == "4");
  CHECK(value.all("fd").size() == 2);
  CHECK(value.text() == "tap,id=a,,b,server,nowait,fd=3,fd=4");
  value.set("fd", "5,6");
  value.remove("wait");
  CHECK(value.text() == "tap,id=a,,b,server,fd=5,,6");
  CHECK_FALSE(OptionValue("x,server=off").on("server"));
  CHECK_FALSE(OptionValue("id=3").get("fd"));
}
