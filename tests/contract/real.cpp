// The contract over real hosts: contract_real URI-A URI-B DOMAIN, with a guest that runs on A and
// is defined there. What only simulated hosts do (definitions of made-up guests, rubbish as
// cookies) is left out.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include "core/base/uri.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/drivers/remote/remote.hpp"
#include "tests/contract/host_contract.hpp"
#include "transports/dial.hpp"
#include "transports/unix.hpp"

namespace vmferry::contract {
namespace {

std::vector<std::string> arguments;

Task<std::unique_ptr<Host>> open(Clock& clock, std::string text) {
  const ConnectUri uri = value_or_throw(parse_connect_uri(text));
  if (uri.driver == "qmp" && uri.transport == Transport::none) {
    QmpEnvironment around{.clock = clock, .dial = [&clock](std::string path) {
                            return connect_unix(clock, std::move(path));
                          }};
    around.open = [&clock](std::string peer) { return open(clock, std::move(peer)); };
    Task<std::unique_ptr<Host>> here = open_qmp(std::move(text), std::move(around));
    std::unique_ptr<Host> bare = co_await std::move(here);
    co_return bare;
  }
  const DialOptions options;
  Task<std::unique_ptr<Stream>> dialling = dial(uri, clock, options);
  std::unique_ptr<Stream> stream = co_await std::move(dialling);
  RemoteOptions remote;
  remote.name = uri.open_name();
  auto opening = open_remote(std::move(stream), clock, std::move(remote));
  std::unique_ptr<Host> host = co_await std::move(opening);
  co_return host;
}

struct Real {
  SystemClock clock;
  asio::io_context io{1};
  std::unique_ptr<Host> a, b;
  Ends ends;

  Real() {
    ends.run = [this](Task<> task) {
      std::exception_ptr failure;
      bool over = false;
      asio::co_spawn(io, std::move(task), [&](std::exception_ptr e) {
        failure = std::move(e);
        over = true;
      });
      io.restart();
      while (!over) io.run_one();
      if (failure) std::rethrow_exception(failure);
    };
    ends.clock = &clock;
    ends.live = FlagSet{Flag::live};
    ends.coded = !arguments.at(0).starts_with("qmp:///");
    a = ends.get(open(clock, arguments.at(0)));
    b = ends.get(open(clock, arguments.at(1)));
    ends.a = a.get();
    ends.b = b.get();
    ends.vm = ends.get(a->find(arguments.at(2)));
  }
};

TEST_CASE("real: look-up and identity") {
  Real r;
  check_lookup(r.ends);
  check_identity(r.ends);
}
TEST_CASE("real: life cycle and refusals") {
  Real r;
  check_life_cycle(r.ends);
  check_refusals(r.ends);
}
TEST_CASE("real: events") {
  Real r;
  check_events(r.ends);
}
TEST_CASE("real: a migration there and back") {
  Real r;
  check_migration(r.ends);
}
TEST_CASE("real: a migration that is given up") {
  Real r;
  check_cancelled_finish(r.ends);
  check_abort(r.ends);
}

}  // namespace
}  // namespace vmferry::contract

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  vmferry::contract::arguments.assign(argv + 1, argv + 4);
  doctest::Context context;
  return context.run();
}
