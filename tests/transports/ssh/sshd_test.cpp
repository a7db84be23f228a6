// The real thing: a private sshd on a loopback port, with keys of its own.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <libssh2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>

#include "core/base/text.hpp"
#include "tests/contract/stream_contract.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/command.hpp"
#include "transports/dial.hpp"
#include "transports/listen.hpp"
#include "transports/ssh/crypto.hpp"

using namespace vmferry;

namespace {

void command(const std::string& line) { REQUIRE_MESSAGE(std::system(line.c_str()) == 0, line); }

std::string slurp(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void keygen(const TempDir& dir, const std::string& name, const std::string& type,
            const std::string& passphrase) {
  command(fmt::format("ssh-keygen -q -t {} -N '{}' -f {}", type, passphrase, dir / name));
}

// Answers from a list, and remembers what was asked.
class Answers final : public Prompter {
 public:
  explicit Answers(std::vector<std::string> answers) : answers_(std::move(answers)) {}
  Task<std::optional<std::string>> ask(std::string question, bool echo) override {
    asked.push_back(question);
    CHECK_FALSE(echo);
    if (asked.size() > answers_.size()) co_return std::nullopt;
    co_return answers_[asked.size() - 1];
  }
  std::vector<std::string> asked;

 private:
  std::vector<std::string> answers_;
};

bool have_sshd() { return ::access("/usr/sbin/sshd", X_OK) == 0; }

// Whether we may make mount namespaces, to give sshd passwords that we know.
bool can_unshare() {
  return ::geteuid() == 0 && std::system(
                                 "unshare -m mount --bind /etc/shadow /etc/shadow "
                                 ">/dev/null 2>&1") == 0;
}

class Sshd {
 public:
  // `extra` goes before our own lines: sshd takes the first value that it finds.
  explicit Sshd(const std::string& extra = "", bool own_shadow = false) {
    keygen(dir, "host", "ed25519", "");
    keygen(dir, "user", "ed25519", "");
    keygen(dir, "locked", "ed25519", "open sesame");
    keygen(dir, "stranger", "ed25519", "");
    dir.write("authorized", slurp(dir / "user.pub") + slurp(dir / "locked.pub"));
    listener_ = run(io, listen_tcp("127.0.0.1", 0));
    port = parse_uri("x://" + listener_->address())->port;
    listener_->close();
    const std::string config = dir.write(
        "sshd_config",
        fmt::format("{}Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n"
                    "StrictModes no\nUsePAM no\nPidFile {}\nPermitRootLogin yes\n"
                    "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                    "SetEnv PATH={}:/usr/bin:/bin\n",
                    extra, port, dir / "host", dir / "authorized", dir / "pid", dir / "bin"));
    if (::geteuid() == 0) std::filesystem::create_directories("/run/sshd");
    std::filesystem::create_directories(dir.path() / "bin");
    std::vector<std::string> argv{"/usr/sbin/sshd", "-D", "-e", "-f", config};
    if (own_shadow) {
      // In a mount namespace of its own, where root's password is "open sesame".
      command(fmt::format("echo \"root:$(openssl passwd -6 'open sesame'):19000::::::\" > {}",
                          dir / "shadow"));
      const std::string script =
          fmt::format("mount --bind {} /etc/shadow && exec \"$@\"", dir / "shadow");
      argv.insert(argv.begin(), {"unshare", "-m", "sh", "-c", script, "sh"});
    }
    server_ = run_command(io.get_executor(), clock, argv);
    wait();
    know("host.pub");
  }

  // The known_hosts file holds this key, and nothing else.
  void know(const std::string& key, bool hashed = false) {
    dir.write("known", fmt::format("[127.0.0.1]:{} {}", port, slurp(dir / key)));
    if (hashed) command(fmt::format("ssh-keygen -q -H -f {} >/dev/null 2>&1", dir / "known"));
  }
  // What is run instead of virt-ssh-helper.
  void helper(const std::string& script) const {
    ::chmod(dir.write("bin/virt-ssh-helper", "#!/bin/sh\n" + script).c_str(), 0755);
  }
  std::string uri(const std::string& key, const std::string& more = "") const {
    return fmt::format("qemu+ssh://{}@127.0.0.1:{}/system?keyfile={}&known_hosts={}{}", user(),
                       port, dir / key, dir / "known", more);
  }
  static std::string user() {
    const char* name = std::getenv("USER");
    return ::geteuid() == 0 ? "root" : name == nullptr ? "nobody" : name;
  }
  Result<std::unique_ptr<Stream>> connect(const std::string& text, Prompter* prompter = nullptr) {
    DialOptions options;
    options.prompter = prompter;
    options.ssh_program = ssh_program;
    options.env = [this](const std::string& name) -> std::optional<std::string> {
      if (name == "HOME") return dir.path().string();
      return {};
    };
    options.warn = [this](const std::string& text_of) { warnings.push_back(text_of); };
    const ConnectUri to = parse_connect_uri(text).value();
    return run(io, settle(dial(to, clock, options)));
  }

  TempDir dir;
  asio::io_context io;
  SystemClock clock;
  std::uint16_t port = 0;
  std::vector<std::string> warnings;
  std::string ssh_program = "ssh";

 private:
  void wait() {
    for (int i = 0; i < 200; ++i) {
      if (::access((dir / "pid").c_str(), R_OK) == 0) return;
      run(io, clock.sleep(Millis(20)));
    }
    FAIL("sshd did not start");
  }
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Stream> server_;
};

Error error_of(Result<std::unique_ptr<Stream>> outcome) {
  REQUIRE_FALSE(outcome.has_value());
  CAPTURE(outcome.error().message);
  return std::move(outcome).error();
}

bool has(std::string_view text, std::string_view word) { return text.find(word) != text.npos; }

}  // namespace

TEST_CASE("sshd: a stream to the helper, both ways, with a key file" *
          doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("echo noise >&2; exec cat\n");
  auto stream = sshd.connect(sshd.uri("user"));
  REQUIRE_MESSAGE(stream, stream.error().message);
  run(sshd.io, stream_contract(**stream));
  CHECK((*stream)->explain_end().find("ended with status 0: noise") != std::string::npos);
  auto other = sshd.connect(sshd.uri("user"));
  REQUIRE(other);
  run(sshd.io, stream_close_contract(**other));
  CHECK(sshd.warnings.empty());
}

TEST_CASE("sshd: host keys" * doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("exec cat\n");
  SUBCASE("hashed names match") {
    sshd.know("host.pub", true);
    CHECK_FALSE(has(slurp(sshd.dir / "known"), "127.0.0.1"));
    CHECK(sshd.connect(sshd.uri("user")).has_value());
  }
  SUBCASE("a changed key is refused, whatever known_hosts_verify=auto says") {
    sshd.know("stranger.pub");
    for (const char* more : {"", "&known_hosts_verify=auto"}) {
      const Error error = error_of(sshd.connect(sshd.uri("user", more)));
      CHECK(error.id == ErrorId::ssh_host_key);
      CHECK(has(error.message, "CHANGED"));
      CHECK(has(error.message, (sshd.dir / "known") + ":1"));
      CHECK(has(error.message, "SHA256:"));
      CHECK(has(error.remedy, "ssh-keygen -R"));
    }
  }
  SUBCASE("an unknown key is refused with the command that adds it") {
    sshd.dir.write("known", "");
    const Error error = error_of(sshd.connect(sshd.uri("user")));
    CHECK(error.id == ErrorId::ssh_host_key);
    CHECK(has(error.message, "is unknown"));
    const std::size_t at = error.remedy.find("ssh-keyscan");
    REQUIRE(at != std::string::npos);
    command(error.remedy.substr(at) + " 2>/dev/null");
    CHECK(sshd.connect(sshd.uri("user")).has_value());
  }
  SUBCASE("auto adds an unknown key, once") {
    std::filesystem::remove(sshd.dir / "known");
    CHECK(sshd.connect(sshd.uri("user", "&known_hosts_verify=auto")).has_value());
    CHECK(sshd.warnings.size() == 1);
    CHECK(sshd.connect(sshd.uri("user")).has_value());
    CHECK(sshd.warnings.size() == 1);
  }
  SUBCASE("ignore and no_verify accept anything, and say so") {
    sshd.know("stranger.pub");
    CHECK(sshd.connect(sshd.uri("user", "&known_hosts_verify=ignore")).has_value());
    CHECK(sshd.connect(sshd.uri("user", "&no_verify=1")).has_value());
    REQUIRE(sshd.warnings.size() == 2);
    CHECK(has(sshd.warnings[0], "not verified"));
  }
}

TEST_CASE("sshd: an encrypted key asks for its passphrase" * doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("exec cat\n");
  Answers good({"wrong", "open sesame"});
  CHECK(sshd.connect(sshd.uri("locked"), &good).has_value());
  REQUIRE(good.asked.size() == 2);
  CHECK(has(good.asked[0], "Passphrase of the key " + (sshd.dir / "locked")));
  const Error silent = error_of(sshd.connect(sshd.uri("locked")));
  CHECK(silent.id == ErrorId::auth_needed);
  CHECK(has(silent.message, "its passphrase was not given"));
  Answers unused({"open sesame"});
  error_of(sshd.connect(sshd.uri("locked", "&no_tty=1"), &unused));
  CHECK(unused.asked.empty());
}

TEST_CASE("sshd: an RSA key works, by the ssh program where libssh2 is too old for it" *
          doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("exec cat\n");
  keygen(sshd.dir, "rsa", "rsa -b 2048", "");
  sshd.dir.write("authorized", slurp(sshd.dir / "rsa.pub"));
  Answers unused({"open sesame"});
  auto stream = sshd.connect(sshd.uri("rsa"), &unused);
  REQUIRE_MESSAGE(stream, stream.error().message);
  run(sshd.io, stream_contract(**stream));
  CHECK(unused.asked.empty());
  // A host key that is not known is refused before the program is thought of.
  sshd.know("stranger.pub");
  CHECK(error_of(sshd.connect(sshd.uri("rsa"))).id == ErrorId::ssh_host_key);
}

TEST_CASE("sshd: an RSA key without the ssh program is refused with the cause" *
          doctest::skip(!have_sshd() || LIBSSH2_VERSION_NUM >= 0x010b00)) {
  Sshd sshd;
  keygen(sshd.dir, "rsa", "rsa -b 2048", "");
  sshd.dir.write("authorized", slurp(sshd.dir / "rsa.pub"));
  sshd.ssh_program = "/no/such/ssh";
  const Error error = error_of(sshd.connect(sshd.uri("rsa")));
  CHECK(error.id == ErrorId::auth_needed);
  REQUIRE(error.notes.size() == 1);
  CHECK(has(error.notes[0], "SHA-1"));
  CHECK(has(error.notes[0], "ed25519"));
}

TEST_CASE("sshd: a refused login tells what was tried" * doctest::skip(!have_sshd())) {
  Sshd sshd;
  const Error error = error_of(sshd.connect(sshd.uri("stranger")));
  CHECK(error.id == ErrorId::auth_needed);
  CHECK(has(error.message, "agent (none runs)"));
  CHECK(has(error.message, (sshd.dir / "stranger") + " (refused)"));
  CHECK(has(error.message, "it accepts: publickey"));
  const Error missing = error_of(sshd.connect(sshd.uri("nokey", "&sshauth=privkey")));
  CHECK(has(missing.message, "nokey (cannot be read)"));
  CHECK_FALSE(has(missing.message, "agent"));
}

TEST_CASE("sshd: a password" * doctest::skip(!have_sshd() || !can_unshare())) {
  Sshd sshd("PasswordAuthentication yes\n", true);
  sshd.helper("exec cat\n");
  Answers good({"wrong", "open sesame"});
  const auto in = sshd.connect(sshd.uri("stranger", "&sshauth=password"), &good);
  CHECK_MESSAGE(in, in.error().message);
  REQUIRE(good.asked.size() == 2);
  CHECK(good.asked[0] == fmt::format("Password of root@127.0.0.1:{}: ", sshd.port));
  Answers bad({"a", "b", "c", "d"});
  const Error error = error_of(sshd.connect(sshd.uri("stranger", "&sshauth=password"), &bad));
  CHECK(has(error.message, "password (refused)"));
  CHECK(bad.asked.size() == 3);
}

TEST_CASE("sshd: keyboard-interactive" * doctest::skip(!have_sshd() || !can_unshare())) {
  Sshd sshd("UsePAM yes\nKbdInteractiveAuthentication yes\n", true);
  sshd.helper("exec cat\n");
  const std::string uri = sshd.uri("stranger", "&sshauth=keyboard-interactive");
  Answers good({"open sesame"});
  const auto in = sshd.connect(uri, &good);
  CHECK_MESSAGE(in, in.error().message);
  REQUIRE(good.asked.size() == 1);
  CHECK(has(good.asked[0], "Password:"));
  CHECK(has(error_of(sshd.connect(uri)).message, "keyboard-interactive (nobody to ask)"));
}

TEST_CASE("sshd: the agent" * doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("exec cat\n");
  auto agent = run_command(sshd.io.get_executor(), sshd.clock,
                           {"ssh-agent", "-D", "-a", sshd.dir / "agent"});
  for (int i = 0; i < 100 && ::access((sshd.dir / "agent").c_str(), R_OK) != 0; ++i)
    run(sshd.io, sshd.clock.sleep(Millis(20)));
  command(fmt::format("SSH_AUTH_SOCK={} ssh-add -q {} 2>/dev/null", sshd.dir / "agent",
                      sshd.dir / "user"));
  DialOptions options;
  options.env = [&](const std::string& name) -> std::optional<std::string> {
    if (name == "SSH_AUTH_SOCK") return sshd.dir / "agent";
    return {};
  };
  const ConnectUri to = parse_connect_uri(sshd.uri("stranger", "&sshauth=agent")).value();
  auto stream = run(sshd.io, settle(dial(to, sshd.clock, options)));
  CHECK_MESSAGE(stream, stream.error().message);
}

TEST_CASE("sshd: what fails behind the login is told apart from it" * doctest::skip(!have_sshd())) {
  Sshd sshd;
  const auto first_read = [&](const std::string& text) {
    auto stream = sshd.connect(text);
    REQUIRE_MESSAGE(stream, stream.error().message);
    std::byte one{};
    auto read = run(sshd.io, settle((*stream)->read_some({&one, 1})));
    REQUIRE_FALSE(read);
    CAPTURE(read.error().message);
    return std::move(read).error();
  };
  const std::string socket = sshd.dir / "none";
  const Error down = first_read(sshd.uri("user", "&proxy=netcat&socket=" + socket));
  CHECK(down.id == ErrorId::connect_failed);
  CHECK(has(down.message, "no daemon answers there"));
  CHECK(has(down.message, socket));
  CHECK(first_read(sshd.uri("user", "&netcat=/no/nc")).id == ErrorId::ssh_helper);
  sshd.helper("echo Failed to connect socket to /x: No such file or directory >&2; exit 1\n");
  CHECK(has(first_read(sshd.uri("user")).message, "no daemon answers there"));
}

TEST_CASE("sshd: through the ssh program, and through a proxy command" *
          doctest::skip(!have_sshd())) {
  Sshd sshd;
  sshd.helper("exec cat\n");
  auto program = sshd.connect(sshd.uri("user", "&command=ssh"));
  REQUIRE(program);
  run(sshd.io, stream_contract(**program));

  DialOptions options;
  options.ssh_program = sshd.dir.write(
      "ssh", fmt::format("#!/bin/sh\necho user {}\necho hostname 127.0.0.1\necho port {}\n"
                         "echo proxycommand nc %h %p\n",
                         Sshd::user(), sshd.port));
  ::chmod(options.ssh_program.c_str(), 0755);
  const ConnectUri to =
      parse_connect_uri(fmt::format("qemu+ssh://alias/system?keyfile={}&known_hosts={}",
                                    sshd.dir / "user", sshd.dir / "known"))
          .value();
  auto proxied = run(sshd.io, settle(dial(to, sshd.clock, options)));
  REQUIRE_MESSAGE(proxied, proxied.error().message);
  run(sshd.io, stream_contract(**proxied));
}

TEST_CASE("sshd: a port that is no ssh server") {
  asio::io_context io;
  SystemClock clock;
  auto listener = run(io, listen_tcp("127.0.0.1", 0));
  const auto port = parse_uri("x://" + listener->address())->port;
  const ConnectUri to =
      parse_connect_uri(
          fmt::format("qemu+ssh://root@127.0.0.1:{}/system?known_hosts=/dev/null", port))
          .value();
  DialOptions options;
  options.timeout = std::chrono::milliseconds(300);
  const auto silent = run(io, settle(dial(to, clock, options)));
  REQUIRE_FALSE(silent);
  CHECK(silent.error().id == ErrorId::connect_timeout);
  CHECK(has(silent.error().message, "the key exchange"));
}
