#include "transports/ssh/config.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <asio/io_context.hpp>

#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/ssh/key_file.hpp"

using namespace vmferry;

namespace {

// Configuration as a fake ssh would print it.
SshConfig config_of(const TempDir& dir, const std::string& uri_text, const std::string& output) {
  dir.write("output", output);
  const std::string fake = dir.write(
      "ssh", "#!/bin/sh\necho \"$@\" > '" + (dir / "argv") + "'\ncat '" + (dir / "output") + "'\n");
  ::chmod(fake.c_str(), 0755);
  DialOptions options;
  options.ssh_program = fake;
  options.env = [](const std::string& name) -> std::optional<std::string> {
    if (name == "HOME") return "/home/joe";
    return {};
  };
  asio::io_context io;
  SystemClock clock;
  const ConnectUri uri = parse_connect_uri(uri_text).value();
  return run(io, ssh_config_for(uri, clock, options));
}

std::string argv(const TempDir& dir) {
  std::ifstream in(dir / "argv");
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

TEST_CASE("ssh config: what ssh -G says of the host") {
  const TempDir dir;
  const SshConfig config =
      config_of(dir, "qemu+ssh://web/system",
                "user bob\nhostname web.example.org\nport 2222\nidentityfile ~/.ssh/a\n"
                "identityfile /b\nuserknownhostsfile ~/.ssh/kh /kh2\nglobalknownhostsfile none\n"
                "identityagent /agent\nproxyjump none\nhostkeyalias alias\n");
  CHECK(argv(dir) == "-G -- web");
  CHECK(config.user == "bob");
  CHECK(config.hostname == "web.example.org");
  CHECK(config.port == 2222);
  CHECK(config.identity_files == std::vector<std::string>{"/home/joe/.ssh/a", "/b"});
  CHECK(config.known_hosts_files == std::vector<std::string>{"/home/joe/.ssh/kh", "/kh2"});
  CHECK(config.identity_agent == "/agent");
  CHECK(config.host_key_alias == "alias");
  CHECK(proxy_argv(config, {}).empty());
}

TEST_CASE("ssh config: the URI goes first") {
  const TempDir dir;
  const SshConfig config =
      config_of(dir, "qemu+ssh://root@web:22/system?keyfile=/k&known_hosts=/n",
                "user bob\nhostname web\nport 2222\nidentityfile /b\nuserknownhostsfile /kh\n");
  CHECK(argv(dir) == "-G -p 22 -l root -- web");
  CHECK(config.user == "root");
  CHECK(config.port == 22);
  CHECK(config.identity_files == std::vector<std::string>{"/k"});
  CHECK(config.known_hosts_files == std::vector<std::string>{"/n"});
}

TEST_CASE("ssh config: jump hosts and proxy commands") {
  DialOptions options;
  SshConfig config{.hostname = "fe80::1", .port = 2222, .proxy_jump = "a@b:22,c"};
  CHECK(proxy_argv(config, options) ==
        std::vector<std::string>{"ssh", "-W", "[fe80::1]:2222", "-J", "a@b:22", "--", "ssh://c"});
  const TempDir dir;
  const SshConfig expanded = config_of(dir, "qemu+ssh://joe@web/system",
                                       "hostname h\nport 23\nproxycommand nc %h %p %r %n 100%%\n");
  CHECK(proxy_argv(expanded, options) ==
        std::vector<std::string>{"/bin/sh", "-c", "exec nc h 23 joe web 100%"});
}

TEST_CASE("ssh config: names that a shell could misread are refused before anything runs") {
  const TempDir dir;
  for (const char* host : {"$(x)", "a;b", "a'b", "a&b"})
    CHECK_THROWS_AS(config_of(dir, std::string("qemu+ssh://") + host + "/system", ""), Error);
  CHECK_THROWS_AS(config_of(dir, "qemu+ssh://a%60b@h/system", ""), Error);
  CHECK_FALSE(std::filesystem::exists(dir / "argv"));
}

TEST_CASE("ssh config: without ssh its defaults stand") {
  DialOptions options;
  options.ssh_program = "/no/such/ssh";
  asio::io_context io;
  SystemClock clock;
  const ConnectUri uri = parse_connect_uri("qemu+ssh://web/system").value();
  const SshConfig config = run(io, ssh_config_for(uri, clock, options));
  CHECK(config.hostname == "web");
  CHECK(config.port == 22);
  CHECK_FALSE(config.user.empty());
  CHECK(config.identity_files.size() == 3);
}

TEST_CASE("ssh config: key files") {
  CHECK_FALSE(inspect_key("").known);
  CHECK_FALSE(inspect_key("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").known);
  const KeyFileInfo pem = inspect_key("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n");
  CHECK(pem.encrypted);
  CHECK(pem.type == "ssh-rsa");
  CHECK(inspect_key("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").encrypted);
  CHECK_FALSE(inspect_key("-----BEGIN PRIVATE KEY-----\n").encrypted);
}
