// The contract of a Stream over unix and tcp sockets and over a program.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <filesystem>

#include "core/base/uri.hpp"
#include "tests/contract/stream_contract.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"
#include "transports/command.hpp"
#include "transports/listen.hpp"
#include "transports/tcp.hpp"
#include "transports/unix.hpp"

using namespace vmferry;

namespace {

// Accepts one connection and sends back what comes.
Task<bool> echo_one(Listener& listener, std::optional<uid_t>* uid) {
  Accepted accepted = co_await listener.accept();
  if (uid != nullptr) *uid = accepted.peer.uid;
  Bytes buffer(65536);
  for (;;) {
    const std::size_t n = co_await accepted.stream->read_some(buffer);
    if (n == 0) co_return true;
    co_await accepted.stream->write_all(std::span<const std::byte>(buffer).first(n));
  }
}

Task<bool> over_unix(Clock& clock, std::string path, bool close_it) {
  auto stream = co_await connect_unix(clock, path);
  if (close_it)
    co_await stream_close_contract(*stream);
  else
    co_await stream_contract(*stream);
  co_return true;
}

Task<bool> over_tcp(Clock& clock, std::string host, std::uint16_t port) {
  auto stream = co_await connect_tcp(clock, host, port);
  co_await stream_contract(*stream);
  co_return true;
}

Task<> with_echo(Listener& listener, Task<bool> client, std::optional<uid_t>* uid = nullptr) {
  Task<bool> server = echo_one(listener, uid);
  co_await both(std::move(server), std::move(client));
}

Result<bool> outcome(asio::io_context& io, Task<bool> task) {
  return run(io, settle(std::move(task)));
}

}  // namespace

TEST_CASE("streams: unix sockets, with mode 0600 and the peer's uid") {
  asio::io_context io;
  SystemClock clock;
  const TempDir dir;
  const std::string path = dir / "s.sock";
  auto listener = listen_unix(io.get_executor(), path);
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  std::optional<uid_t> uid;
  run(io, with_echo(*listener, over_unix(clock, path, false), &uid));
  CHECK(uid == ::geteuid());
  run(io, with_echo(*listener, over_unix(clock, path, true)));
  CHECK_THROWS_AS(listen_unix(io.get_executor(), path), Error);  // somebody listens
  listener->close();
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("streams: a stale unix socket is replaced, another file is not") {
  asio::io_context io;
  const TempDir dir;
  const std::string path = dir / "s.sock";
  {
    asio::local::stream_protocol::acceptor dead(io, asio::local::stream_protocol::endpoint(path));
  }
  REQUIRE(std::filesystem::exists(path));
  listen_unix(io.get_executor(), path)->close();
  dir.write("file", "precious");
  CHECK_THROWS_AS(listen_unix(io.get_executor(), dir / "file"), Error);
  CHECK(std::filesystem::file_size(dir / "file") == 8);
}

TEST_CASE("streams: an abstract unix socket") {
  asio::io_context io;
  SystemClock clock;
  const std::string path = "@vmferry-test-" + std::to_string(::getpid());
  auto listener = listen_unix(io.get_executor(), path);
  run(io, with_echo(*listener, over_unix(clock, path, false)));
}

TEST_CASE("streams: tcp") {
  asio::io_context io;
  SystemClock clock;
  auto listener = run(io, listen_tcp("127.0.0.1", 0));
  const auto address = parse_uri("x://" + listener->address());
  REQUIRE(address);
  run(io, with_echo(*listener, over_tcp(clock, "localhost", address->port)));
  listener->close();
  const auto refused = outcome(io, over_tcp(clock, "127.0.0.1", address->port));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().id == ErrorId::connect_failed);
  CHECK(refused.error().message.find("127.0.0.1: Connection refused") != std::string::npos);
}

TEST_CASE("streams: what cannot be connected says why") {
  asio::io_context io;
  SystemClock clock;
  const TempDir dir;
  const auto missing = outcome(io, over_unix(clock, dir / "none", false));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().id == ErrorId::connect_failed);
  CHECK(missing.error().message.find("No such file") != std::string::npos);
  const auto too_long = outcome(io, over_unix(clock, "/" + std::string(200, 'x'), false));
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().id == ErrorId::uri_invalid);
  const auto nameless = outcome(io, over_tcp(clock, "no-such-host.invalid", 1));
  REQUIRE_FALSE(nameless);
  CHECK(nameless.error().message.find("no-such-host.invalid") != std::string::npos);
}

TEST_CASE("streams: a program") {
  asio::io_context io;
  SystemClock clock;
  auto cat = run_command(io.get_executor(), clock, {"cat"});
  run(io, stream_contract(*cat));
  auto other = run_command(io.get_executor(), clock, {"cat"});
  run(io, stream_close_contract(*other));
  CHECK_THROWS_AS(run_command(io.get_executor(), clock, {"/no/such/program"}), Error);
}

TEST_CASE("streams: a program's last words and exit status are told") {
  asio::io_context io;
  SystemClock clock;
  auto failing = run_command(io.get_executor(), clock,
                             {"sh", "-c", "echo x; echo 'no \033[31mroute' >&2; exit 3"});
  std::byte one{};
  CHECK(run(io, read_text(*failing, 2)) == "x\n");
  const auto end = run(io, settle(read_exactly(*failing, {&one, 1})));
  REQUIRE_FALSE(end);
  CHECK(end.error().id == ErrorId::connect_lost);
  CHECK(end.error().message == "the program sh ended with status 3: no \\x1b[31mroute");
}

TEST_CASE("streams: a program that ends before it sent a byte was no connection") {
  asio::io_context io;
  SystemClock clock;
  const std::vector<std::string> argv{"sh", "-c", "exec <&-; echo sorry >&2; exit 3"};
  auto reading = run_command(io.get_executor(), clock, argv);
  std::byte one{};
  const auto read = run(io, settle(reading->read_some({&one, 1})));
  REQUIRE_FALSE(read);
  CHECK(read.error().id == ErrorId::connect_failed);
  CHECK(read.error().message == "the program sh ended with status 3: sorry, and sent nothing");
  auto writing = run_command(io.get_executor(), clock, argv);
  const std::string much(4 << 20, 'x');
  const auto written = run(io, settle(writing->write_all(bytes_of(much))));
  REQUIRE_FALSE(written);
  CHECK(written.error().message == read.error().message);
}

TEST_CASE("streams: a program that floods its standard error is not blocked by it") {
  asio::io_context io;
  SystemClock clock;
  auto noisy = run_command(io.get_executor(), clock,
                           {"sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done"});
  CHECK(run(io, read_text(*noisy, 4)) == "done");
  CHECK(noisy->explain_end().size() < 10000);
}

TEST_CASE("streams: a program has its own process group and is gone after close") {
  asio::io_context io;
  SystemClock clock;
  auto program = run_command(io.get_executor(), clock,
                             {"sh", "-c", "trap '' TERM; printf '%6d' $$; sleep 600"});
  const std::string text = run(io, read_text(*program, 6));
  const int pid = std::stoi(text);
  CHECK(::getpgid(pid) == pid);
  program->close();
  CHECK(::kill(pid, 0) != 0);
}
