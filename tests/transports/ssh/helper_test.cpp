#include "transports/ssh/helper.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>

#include "core/base/text.hpp"
#include "tests/contract/stream_contract.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/command.hpp"

using namespace vmferry;

namespace {

// Prints its arguments, one a line in brackets; as nc, it also has an option -q.
constexpr std::string_view kPrinter =
    "#!/bin/sh\nif [ \"$1\" = -q ]; then echo 'option requires an argument' >&2; exit 1; fi\n"
    "for a in \"$@\"; do echo \"[$a]\"; done\n";

void install(const TempDir& dir, const std::string& name, std::string_view text = kPrinter) {
  ::chmod(dir.write(name, text).c_str(), 0755);
}

Task<std::string> output_of(Stream& program) {
  std::string out;
  Bytes buffer(65536);
  for (;;) {
    const std::size_t n = co_await program.read_some(buffer);
    if (n == 0) co_return out;
    out.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
}

// What the other host's login shell makes of the command, with only `dir` and the system in PATH.
struct Outcome {
  std::string out, end;
};
Outcome run_remote(const TempDir& dir, const std::string& uri_text,
                   const std::string& user = "root", bool read_only = false,
                   const std::string& shell = "sh") {
  const ConnectUri uri = parse_connect_uri(uri_text).value();
  const auto command = remote_command(uri, user, read_only);
  REQUIRE_MESSAGE(command, uri_text);
  asio::io_context io;
  SystemClock clock;
  const std::string path = "PATH=" + (dir / "bin") + ":" + (dir / "tools");
  auto program = run_command(io.get_executor(), clock,
                             {"/usr/bin/env", "-i", path, "/bin/" + shell, "-c", *command});
  Outcome outcome;
  outcome.out = run(io, settle(output_of(*program))).value_or("");
  outcome.end = program->explain_end();
  return outcome;
}

// A PATH with the tools that the script needs, and nothing else.
struct Host {
  Host() {
    std::filesystem::create_directories(dir.path() / "bin");
    std::filesystem::create_directories(dir.path() / "tools");
    for (const char* tool : {"sh", "grep"})
      std::filesystem::create_symlink(std::string("/bin/") + tool, dir.path() / "tools" / tool);
  }
  TempDir dir;
};

std::string percent(std::string_view text) {
  std::string out;
  for (const char c : text) out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  return out;
}

}  // namespace

TEST_CASE("helper: virt-ssh-helper first, then nc") {
  const Host host;
  const auto nothing = run_remote(host.dir, "qemu+ssh://h/system");
  CHECK(nothing.end.find("status 127") != std::string::npos);
  install(host.dir, "bin/nc");
  asio::io_context io;
  const std::string path = host.dir / "s";
  asio::local::stream_protocol::acceptor socket(io, asio::local::stream_protocol::endpoint(path));
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?socket=" + path).out ==
        "[-q0]\n[-U]\n[" + path + "]\n");
  install(host.dir, "bin/virt-ssh-helper");
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?x=1&keyfile=/k").out == "[qemu:///system?x=1]\n");
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?mode=legacy", "root", true).out ==
        "[-r]\n[qemu:///system?mode=legacy]\n");
  CHECK(run_remote(host.dir, "qemu+ssh://h/session", "joe").out == "[qemu:///session]\n");
  // socket= and netcat= mean nc, unless proxy= says otherwise.
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?socket=" + path).out ==
        "[-q0]\n[-U]\n[" + path + "]\n");
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?proxy=native&socket=" + path).out ==
        "[qemu:///system?socket=" + path + "]\n");
}

TEST_CASE("helper: nc without -q, and a socket that is not there") {
  const Host host;
  install(host.dir, "bin/nc", "#!/bin/sh\nfor a in \"$@\"; do echo \"[$a]\"; done\n");
  const std::string path = host.dir / "s";
  const auto missing = run_remote(host.dir, "qemu+ssh://h/system?proxy=netcat&socket=" + path);
  CHECK(missing.end.find("status 66: " + path + ": no such socket") != std::string::npos);
  asio::io_context io;
  asio::local::stream_protocol::acceptor socket(io, asio::local::stream_protocol::endpoint(path));
  CHECK(run_remote(host.dir, "qemu+ssh://h/system?socket=" + path).out == "[-U]\n[" + path + "]\n");
}

TEST_CASE("helper: nothing in a URI becomes shell") {
  const Host host;
  install(host.dir, "bin/virt-ssh-helper");
  install(host.dir, "bin/vmferry");
  const std::string mark = host.dir / "owned";
  const std::string hostile[] = {"'; touch " + mark + "; '",
                                 "$(touch " + mark + ")",
                                 "`touch " + mark + "`",
                                 "\"; touch " + mark + "; \"",
                                 "' || touch " + mark + " || '",
                                 "; touch " + mark + " #",
                                 "a' 'b",
                                 "& touch " + mark + " &",
                                 "${IFS}x",
                                 "'\"'\"'$(touch " + mark + ")"};
  for (const std::string& text : hostile) {
    CAPTURE(text);
    for (const char* shell : {"sh", "bash"}) {
      const auto path = run_remote(host.dir, "qemu+ssh://h/" + percent(text), "root", false, shell);
      CHECK(parse_uri(path.out.substr(1, path.out.size() - 3))->path == "/" + text);
      const auto socket =
          run_remote(host.dir, "qemu+ssh://h/system?socket=" + percent(text), "root", false, shell);
      CHECK(socket.out.empty());
      const auto name =
          run_remote(host.dir, "qemu+ssh://h/?name=" + percent(text), "root", false, shell);
      CHECK(name.out == "[" + text + "]\n");
      run_remote(host.dir, "qemu+ssh://h/system?netcat=" + percent(text), "root", false, shell);
      run_remote(host.dir, "test+ssh://h/default?vmferry=" + percent(text), "root", false, shell);
      CHECK_FALSE(std::filesystem::exists(mark));
    }
  }
}

TEST_CASE("helper: what shells quote differently is refused") {
  const auto refused = [](const std::string& value) {
    const auto uri = parse_connect_uri("qemu+ssh://h/system?socket=" + percent(value));
    return !uri || !remote_command(*uri, "root", false);
  };
  CHECK_FALSE(refused("/run/it's fine"));
  for (const char* value : {"a\nb", "a\\b", "a!b", "a\x7f", "\x1b[2J"}) CHECK(refused(value));
}

TEST_CASE("helper: vmferry serves the drivers without a daemon") {
  const Host host;
  const auto missing = run_remote(host.dir, "test+ssh://h/default?rules=vz");
  CHECK(missing.end.find("status 127") != std::string::npos);
  install(host.dir, "bin/vmferry");
  CHECK(run_remote(host.dir, "test+ssh://h/default?rules=vz").out ==
        "[serve]\n[--stdio]\n[--protocol]\n[1]\n[test:///default?rules=vz]\n");
  install(host.dir, "my ferry");
  CHECK(run_remote(host.dir, "qmp+ssh://h/system?vmferry=" + (host.dir / "my%20ferry")).out ==
        "[serve]\n[--stdio]\n[--protocol]\n[1]\n[qmp:///system]\n");
}

TEST_CASE("helper: a user's session needs virt-ssh-helper") {
  const ConnectUri uri = parse_connect_uri("qemu+ssh://h/session?proxy=netcat").value();
  CHECK_FALSE(remote_command(uri, "joe", false));
  CHECK(remote_command(uri, "root", false));
}

TEST_CASE("helper: every end has its own message") {
  const ConnectUri qemu = parse_connect_uri("qemu+ssh://h/system").value();
  const ConnectUri qmp = parse_connect_uri("qmp+ssh://h/system").value();
  CHECK(helper_failed(qemu, "h", 127, "nc: not found").id == ErrorId::ssh_helper);
  CHECK(helper_failed(qmp, "h", 127, "").message.find("no vmferry") != std::string::npos);
  const Error down = helper_failed(qemu, "h", 66, "/var/run/libvirt/libvirt-sock: no such socket");
  CHECK(down.id == ErrorId::connect_failed);
  CHECK(down.message.find("no daemon answers") != std::string::npos);
  CHECK(down.remedy.find("virtqemud.socket") != std::string::npos);
  CHECK(helper_failed(qemu, "h", 1, "Permission denied").message.find("may not use") !=
        std::string::npos);
  CHECK(helper_failed(qemu, "h", 3, "strange").message ==
        "the program that h ran to reach its daemon ended with status 3: strange");
}
