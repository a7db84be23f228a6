#include "core/drivers/qmp/conflicts.hpp"

#include <doctest/doctest.h>

using namespace vmferry;
using qmp::side_by_side;
using qmp::Words;

TEST_CASE("qmp side by side: sockets get a temporary name and never wait") {
  const auto got = side_by_side({"q", "-chardev", "socket,id=a,path=/s,server=on,wait=on", "-qmp",
                                 "unix:/m,server", "-chardev", "socket,id=c,path=/c"},
                                ".new", "/v");
  CHECK(got.impossible.empty());
  CHECK(got.argv[2] == "socket,id=a,path=/s.new,server=on,wait=off");
  CHECK(got.argv[4] == "unix:/m.new,server,wait=off");
  CHECK(got.argv[6] == "socket,id=c,path=/c");
  REQUIRE(got.renames.size() == 2);
  CHECK(got.renames[0] == std::pair<std::string, std::string>("/s.new", "/s"));
}

TEST_CASE("qmp side by side: a log is appended to, VNC waits elsewhere") {
  const auto got =
      side_by_side({"q", "-chardev", "file,id=a,path=/l", "-vnc", "127.0.0.1:3,x=y"}, ".new", "/v");
  CHECK(got.argv[2] == "file,id=a,path=/l,append=on");
  CHECK(got.argv[4] == "unix:/v,x=y");
  CHECK(got.vnc_host == "127.0.0.1");
  CHECK(got.vnc_port == "5903");
}

TEST_CASE("qmp side by side: what belongs to one process is named") {
  for (const auto& [option, value] : std::vector<std::pair<const char*, const char*>>{
           {"-netdev", "tap,id=n,ifname=t0"},
           {"-netdev", "tap,id=n,fd=7"},
           {"-netdev", "user,id=n,hostfwd=tcp::1-:2"},
           {"-chardev", "socket,id=c,host=h,port=1,server=on"},
           {"-chardev", "socket,id=c,fd=4,server=on"},
           {"-serial", "tcp:h:1,server"},
           {"-serial", "file:/log"},
           {"-spice", "port=1"},
           {"-add-fd", "fd=3,set=1"}}) {
    INFO(value);
    CHECK(side_by_side({"q", option, value}, ".new", "/v").impossible.size() == 1);
  }
  CHECK(side_by_side({"q", "-netdev", "user,id=n", "-display", "none"}, ".new", "/v")
            .impossible.empty());
}
