#include "transports/dial.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <asio/io_context.hpp>

#include "tests/contract/stream_contract.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/listen.hpp"

using namespace vmferry;

namespace {

DialOptions options_in(const TempDir& dir, bool root) {
  DialOptions options;
  options.root = root;
  options.runtime_dir = dir.path().string();
  options.env = [](const std::string& name) -> std::optional<std::string> {
    if (name == "XDG_RUNTIME_DIR") return "/run/user/7";
    return {};
  };
  return options;
}

ConnectUri uri(std::string_view text) { return parse_connect_uri(text).value(); }

Error dial_error(const std::string& text, const DialOptions& options) {
  asio::io_context io;
  SystemClock clock;
  const ConnectUri to = uri(text);
  auto stream = run(io, settle(dial(to, clock, options)));
  REQUIRE_MESSAGE(!stream, text);
  return std::move(stream).error();
}

}  // namespace

TEST_CASE("dial: which socket a daemon has") {
  const TempDir dir;
  const std::string d = dir.path().string();
  using Paths = std::vector<std::string>;
  DialOptions root = options_in(dir, true), user = options_in(dir, false);
  CHECK(daemon_sockets(uri("qemu:///system"), root) ==
        Paths{d + "/libvirt-sock", d + "/virtqemud-sock"});
  dir.write("virtqemud-sock", "");
  CHECK(daemon_sockets(uri("qemu:///system"), root) ==
        Paths{d + "/virtqemud-sock", d + "/libvirt-sock"});
  CHECK(daemon_sockets(uri("xen:///?mode=direct"), root) == Paths{d + "/virtxend-sock"});
  CHECK(daemon_sockets(uri("qemu:///system?mode=legacy"), root) == Paths{d + "/libvirt-sock"});
  CHECK(daemon_sockets(uri("openvz:///system"), root) == Paths{d + "/libvirt-sock"});
  CHECK(daemon_sockets(uri("qemu+unix:///system?socket=/x"), root) == Paths{"/x"});
  CHECK(daemon_sockets(uri("qemu:///session"), root)[0] == d + "/virtqemud-sock");
  CHECK(daemon_sockets(uri("qemu:///session?mode=direct"), user) ==
        Paths{"/run/user/7/libvirt/virtqemud-sock"});
  root.read_only = user.read_only = true;
  CHECK(daemon_sockets(uri("qemu:///system?mode=direct"), root) == Paths{d + "/virtqemud-sock-ro"});
  CHECK(daemon_sockets(uri("qemu:///session?mode=direct"), user) ==
        Paths{"/run/user/7/libvirt/virtqemud-sock"});
}

TEST_CASE("dial: no daemon: every socket that was tried is named, and what to start") {
  const TempDir dir;
  const Error error = dial_error("qemu:///system", options_in(dir, true));
  CHECK(error.id == ErrorId::connect_failed);
  CHECK(error.message.find(dir / "libvirt-sock") != std::string::npos);
  REQUIRE(error.notes.size() == 1);
  CHECK(error.notes[0].find(dir / "virtqemud-sock") != std::string::npos);
  CHECK(error.remedy.find("virtqemud.socket") != std::string::npos);
}

// A session's daemon, played by a script that notes how it was called.
struct Session {
  TempDir dir;
  DialOptions options;
  explicit Session(const std::string& daemon, const std::string& autostart = "1") {
    std::filesystem::create_directories(dir.path() / "libvirt");
    options.root = false;
    options.env = [this, autostart](const std::string& name) -> std::optional<std::string> {
      if (name == "XDG_RUNTIME_DIR") return dir.path().string();
      if (name == "PATH") return dir / "bin";
      if (name == "LIBVIRT_AUTOSTART") return autostart;
      return {};
    };
    std::filesystem::create_directories(dir.path() / "bin");
    const std::string script =
        dir.write("bin/virtqemud",
                  "#!/bin/sh\nD='" + dir.path().string() + "'\necho \"$@\" > $D/argv\n" + daemon);
    ::chmod(script.c_str(), 0755);
  }
  bool started() const { return std::filesystem::exists(dir.path() / "argv"); }
};

TEST_CASE("dial: the daemon of a user's session is started when it is needed") {
  Session session(
      "timeout 20 /usr/bin/python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); "
      "s.bind('$D/libvirt/virtqemud-sock'); s.listen(); s.accept()[0].recv(1)\" "
      "</dev/null >/dev/null 2>&1 &\n");
  asio::io_context io;
  SystemClock clock;
  const ConnectUri to = uri("qemu:///session");
  auto stream = run(io, settle(dial(to, clock, session.options)));
  REQUIRE_MESSAGE(stream, stream.error().message);
  std::string argv;
  std::ifstream in(session.dir / "argv");
  std::getline(in, argv);
  CHECK(argv == "--daemon --timeout=120");
}

TEST_CASE("dial: a session's daemon that cannot start tells why; one that may not is not started") {
  const Session broken("echo 'no room for it' >&2; exit 3\n");
  const Error error = dial_error("qemu:///session", broken.options);
  CHECK(error.id == ErrorId::connect_failed);
  REQUIRE_FALSE(error.notes.empty());
  CHECK(error.notes.back().find("no room for it") != std::string::npos);
  const Session forbidden("exit 0\n", "0");
  CHECK(dial_error("qemu:///session", forbidden.options).remedy.find("--daemon") !=
        std::string::npos);
  CHECK_FALSE(forbidden.started());
  const Session legacy("exit 0\n");
  const std::string socket = "?socket=" + (legacy.dir / "s");
  dial_error("qemu+unix:///session" + socket, legacy.options);
  CHECK_FALSE(legacy.started());
}

TEST_CASE("dial: TLS is refused by name, never replaced") {
  const TempDir dir;
  for (const char* text : {"qemu://host2/system", "qemu+tls://host2/system"}) {
    const Error error = dial_error(text, options_in(dir, true));
    CHECK(error.id == ErrorId::unsupported);
    CHECK(error.message.find("TLS") != std::string::npos);
    CHECK(error.remedy == "Use ssh: qemu+ssh://host2/system");
  }
  CHECK(dial_error("qemu+tcp://h/system?auth=sasl.gssapi", options_in(dir, true)).id ==
        ErrorId::unsupported);
}

TEST_CASE("dial: unix with socket=, and a program") {
  const TempDir dir;
  asio::io_context io;
  SystemClock clock;
  auto listener = listen_unix(io.get_executor(), dir / "s");
  const ConnectUri by_socket = uri("qemu+unix:///system?socket=" + (dir / "s"));
  const DialOptions options = options_in(dir, true);
  CHECK(run(io, dial(by_socket, clock, options)) != nullptr);
  const ConnectUri by_program = uri("qemu+ext:///system?command=cat");
  auto stream = run(io, dial(by_program, clock, options));
  run(io, stream_contract(*stream));
}
