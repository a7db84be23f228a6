#include "core/base/uri.hpp"

#include <doctest/doctest.h>

#include "core/base/text.hpp"

using namespace vmferry;

TEST_CASE("uri: parts") {
  const auto uri = parse_uri("qemu+SSH://us%65r@Host.example:2022/sys%20tem?a=1&b=%26&c#fr");
  REQUIRE(uri);
  CHECK(uri->scheme == "qemu+ssh");
  CHECK(uri->user == "user");
  CHECK(uri->host == "Host.example");
  CHECK(uri->port == 2022);
  CHECK(uri->path == "/sys tem");
  CHECK(uri->query == std::vector<Uri::Param>{{"a", "1"}, {"b", "&"}, {"c", ""}});
  CHECK(uri->param("b") == "&");
  CHECK(uri->fragment == "fr");
  CHECK(uri->to_string() == "qemu+ssh://user@Host.example:2022/sys%20tem?a=1&b=%26&c=#fr");
}

TEST_CASE("uri: what is printed parses to the same") {
  for (const char* text :
       {"qemu:///system", "qemu+tcp://[fe80::1]:16509/system", "xen+ssh://root@h/",
        "test:///default", "qemu+unix:///system?socket=/run/x.sock", "tcp://h:49152",
        "unix:///run/a%3Fb", "qemu+ssh://h/system?netcat=/bin/n%20c&keyfile=/k",
        "x://[fe80::1%25eth0]/"}) {
    const auto uri = parse_uri(text);
    REQUIRE_MESSAGE(uri, text);
    CHECK(uri->to_string() == text);
    CHECK(parse_uri(uri->to_string()).value() == *uri);
  }
  CHECK(parse_uri("x://[fe80::1%25eth0]/")->host == "fe80::1%eth0");
}

TEST_CASE("uri: refused") {
  for (const char* text : {"",
                           "host",
                           "://h",
                           "1x://h",
                           "x://h:0/",
                           "x://h:65536",
                           "x://h:99999/",
                           "x://h:1x",
                           "x://[::1",
                           "x://[nope]/",
                           "x://[::1]1",
                           "x://h/%zz",
                           "x://h/%0",
                           "x://h/%00",
                           "x://a b/",
                           "x://h/\n",
                           "x://h?a=%g1",
                           "x://h\x7f/",
                           "x://h^/",
                           "x://us%er@h/"})
    CHECK_MESSAGE(!parse_uri(text), text);
  CHECK_FALSE(parse_uri("x://" + std::string(9000, 'h')));
}

TEST_CASE("uri: passwords are not printed") {
  CHECK(parse_uri("x://u:secret@h/")->to_string() == "x://u@h/");
  const auto wrong = parse_uri("x://u:secret@h:99999/");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message.find("secret") == std::string::npos);
  const auto connect = parse_connect_uri("qemu+ssh://u:secret@h/system");
  REQUIRE_FALSE(connect);
  CHECK(connect.error().message.find("secret") == std::string::npos);
}

TEST_CASE("connect uri: transport and the name that is sent") {
  struct Row {
    const char* text;
    const char* driver;
    Transport transport;
    const char* open_name;
  };
  for (const Row& row : {
           Row{"qemu:///system", "qemu", Transport::none, "qemu:///system"},
           Row{"qemu://h/system", "qemu", Transport::none, "qemu:///system"},
           Row{"qemu+unix:///session", "qemu", Transport::unix_, "qemu:///session"},
           Row{"xen+tcp://h:1/", "xen", Transport::tcp, "xen:///"},
           Row{"xen+tls://h", "xen", Transport::tls, "xen:///"},
           Row{"qemu+ssh://root@h:22/system?socket=/x", "qemu", Transport::ssh, "qemu:///system"},
           Row{"qemu+libssh2://h/system?no_tty=1&x=1", "qemu", Transport::libssh2,
               "qemu:///system?x=1"},
           Row{"qemu+libssh://h/system?name=xen:///y", "qemu", Transport::libssh, "xen:///y"},
           Row{"qemu+ext:///system?command=/bin/c", "qemu", Transport::ext, "qemu:///system"},
           Row{"test:///default?rules=vz", "test", Transport::none, "test:///default?rules=vz"},
           Row{"test+ssh://h/default?vmferry=/opt/v", "test", Transport::ssh, "test:///default"},
       }) {
    const auto uri = parse_connect_uri(row.text);
    REQUIRE_MESSAGE(uri, row.text);
    CHECK(uri->driver == row.driver);
    CHECK(uri->transport == row.transport);
    CHECK(uri->open_name() == row.open_name);
  }
}

TEST_CASE("connect uri: parameters") {
  const auto uri = parse_connect_uri(
      "qemu+ssh://h/system?keyfile=/k&known_hosts=/n&known_hosts_verify=auto&"
      "sshauth=privkey,password&netcat=/bin/nc&proxy=netcat&mode=legacy&no_verify=1&no_tty=0");
  REQUIRE(uri);
  CHECK(uri->keyfile == "/k");
  CHECK(uri->known_hosts == "/n");
  CHECK(uri->known_hosts_verify == KnownHostsVerify::automatic);
  CHECK(uri->sshauth == std::vector<std::string>{"privkey", "password"});
  CHECK(uri->netcat == "/bin/nc");
  CHECK(uri->proxy == SshProxy::netcat);
  CHECK(uri->mode == DaemonMode::legacy);
  CHECK(uri->no_verify);
  CHECK_FALSE(uri->no_tty);
  CHECK(uri->open_name() == "qemu:///system");
  CHECK(uri->helper_name() == "qemu:///system?mode=legacy");
  CHECK_FALSE(uri->over_tls());
  CHECK(parse_connect_uri("qemu://h/system")->over_tls());
  CHECK(parse_connect_uri("qemu+tcp:///system")->host() == "localhost");
}

TEST_CASE("connect uri: refused") {
  for (const char* text :
       {"qemu+shh://h/system", "qemu+://h/", "qemu+unix://h/system", "qemu+ext:///system",
        "qemu+ssh://h/?proxy=native&netcat=nc", "qemu+ssh://h/?mode=x", "qemu+ssh://h/?proxy=y",
        "qemu+ssh://h/?known_hosts_verify=maybe", "qemu+ssh://h/?sshauth=agent,magic",
        "qemu+ssh://h/?no_tty=yes", "qemu+ssh://-oProxyCommand=x/system", "qemu+ssh://-l@h/system",
        "qemu+ssh://h/?keyfile=", "host"})
    CHECK_MESSAGE(!parse_connect_uri(text), text);
  CHECK(parse_connect_uri("qemu+shh://h/system").error().message.find("did you mean \"ssh\"") !=
        std::string::npos);
}

TEST_CASE("connect uri: a bare host is no URI, and means the same kind of connection there") {
  for (const char* text : {"host2", "host2.example.org", "10.0.0.1", "root@host2", "host2:2222",
                           "::1", "[::1]:22", "root@[::1]"})
    CHECK_MESSAGE(is_bare_host(text), text);
  for (const char* text :
       {"", "qemu:///system", "qemu+ssh://h/system", "test:default", "a/b", "a b"})
    CHECK_MESSAGE(!is_bare_host(text), text);
  const ConnectUri like = parse_connect_uri("qemu+unix:///system?socket=/x&y=1").value();
  CHECK(on_host(like, "root@host2:2222")->to_string() == "qemu+ssh://root@host2:2222/system?y=1");
  CHECK(on_host(like, "::1")->to_string() == "qemu+ssh://[::1]/system?y=1");
  CHECK_FALSE(on_host(like, "-oProxyCommand=x"));
  CHECK_FALSE(on_host(like, "u:secret@h"));
}

TEST_CASE("migrate uri: with and without slashes, byte-exact") {
  struct Row {
    const char* text;
    const char* scheme;
    const char* host;
    int port;
    const char* path;
  };
  for (const Row& row : {
           Row{"tcp://h:49152", "tcp", "h", 49152, ""},
           Row{"tcp:h:49152", "tcp", "h", 49152, ""},
           Row{"tcp:[fe80::1]:49152", "tcp", "fe80::1", 49152, ""},
           Row{"tcp:h", "tcp", "h", 0, ""},
           Row{"rdma://h:1", "rdma", "h", 1, ""},
           Row{"vzmigr://h", "vzmigr", "h", 0, ""},
           Row{"unix:///run/sock", "unix", "", 0, "/run/sock"},
           Row{"unix:/run/sock", "unix", "", 0, "/run/sock"},
           Row{"fd:7", "fd", "", 0, "7"},
           Row{"host2", "", "host2", 0, ""},
           Row{"host2:49152", "", "host2", 49152, ""},
           Row{"10.0.0.2", "", "10.0.0.2", 0, ""},
           Row{"10.0.0.2:49152", "", "10.0.0.2", 49152, ""},
           Row{"fe80::1", "", "fe80::1", 0, ""},
           Row{"[fe80::1]:49152", "", "fe80::1", 49152, ""},
       }) {
    const auto uri = parse_migrate_uri(row.text);
    REQUIRE_MESSAGE(uri, row.text);
    CHECK(uri->text == row.text);
    CHECK(uri->uri.scheme == row.scheme);
    CHECK(uri->uri.host == row.host);
    CHECK(uri->uri.port == row.port);
    CHECK(uri->uri.path == row.path);
  }
  CHECK(parse_migrate_uri("tcp:h")->with_port(5) == "tcp:h:5");
  CHECK(parse_migrate_uri("tcp://[::1]")->with_port(5) == "tcp://[::1]:5");
  CHECK(parse_migrate_uri("h")->with_port(5) == "h:5");
  for (const char* text : {"", "tcp://h:99999", "tcp:h:0", "tcp:h:99999", "a b", "tcp://[x]"})
    CHECK_MESSAGE(!parse_migrate_uri(text), text);
}
