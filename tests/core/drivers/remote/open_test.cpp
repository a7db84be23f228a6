// Opening and asking, against a peer that sees how much is sent before anything is answered.
#include <doctest/doctest.h>

#include "core/async/race.hpp"
#include "core/drivers/remote/remote.hpp"
#include "core/proto/domain.hpp"
#include "core/proto/error.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::rpc {
namespace {

using namespace proto;

struct Opening {
  asio::io_context io{1};
  SimClock clock{io};
  std::unique_ptr<Scripted> peer;
  std::shared_ptr<Later<std::unique_ptr<Host>>> opened;
  std::shared_ptr<Later<Packet>> waiting;

  explicit Opening(RemoteOptions options = {}) {
    PipeEnds ends = make_pipe(io.get_executor());
    peer = std::make_unique<Scripted>(std::move(ends.b));
    opened = begin(io, open_remote(std::move(ends.a), clock, std::move(options)));
    clock.settle();
  }
  ~Opening() {
    opened->result.reset();
    peer.reset();
    clock.settle();
  }
  /// Everything that the client has sent before it needs an answer.
  std::vector<Packet> flight() {
    std::vector<Packet> packets;
    for (;;) {
      if (!waiting) waiting = begin(io, peer->next());
      clock.settle();
      if (!waiting->ok()) return packets;
      packets.push_back(**waiting->result);
      waiting.reset();
    }
  }
  void answer_auth(const Packet& call) {
    clock.run(peer->answer(call, AuthListRet{std::vector<AuthType>{AuthType::none}}));
  }
  void answer_all(const std::vector<Packet>& calls) {
    for (const Packet& call : calls) {
      if (call.header.procedure == ConnectSupportsFeature::number)
        clock.run(peer->answer(call, BoolRet{true}));
      else if (call.header.procedure == DomainLookupByName::number)
        clock.run(peer->answer(call, DomainRet{Domain{Str("vm"), WireUuid(), 1}}));
      else
        clock.run(peer->answer(call, Void{}));
    }
    clock.settle();
  }
};

std::vector<std::int32_t> procedures(const std::vector<Packet>& packets) {
  std::vector<std::int32_t> out;
  for (const Packet& p : packets) out.push_back(p.header.procedure);
  return out;
}

Task<bool> features_and_find(Host& host) {
  const auto both_known = co_await both(host.features(), host.find("vm"));
  co_return both_known.first.v3_params&& both_known.second.name == "vm";
}

TEST_CASE("remote: open, features and look-up take three flights, one of them twice for places") {
  Opening o({.name = "qemu:///system"});
  const auto first = o.flight();
  CHECK(procedures(first) == std::vector<std::int32_t>{66});
  o.answer_auth(first.at(0));
  const auto second = o.flight();
  CHECK(procedures(second) == std::vector<std::int32_t>{60, 1});
  const auto open = xdr::decode<OpenArgs>(second.at(1).payload);
  REQUIRE(open);
  CHECK(open->name.v->v == "qemu:///system");
  o.answer_all(second);
  REQUIRE(o.opened->ok());
  Host& host = ***o.opened->result;
  const auto known = begin(o.io, features_and_find(host));
  // Four features and a look-up are five calls; four may be under way, none of them a long one.
  const auto third = o.flight();
  CHECK(third.size() == 4);
  o.answer_all(third);
  const auto rest = o.flight();
  CHECK(rest.size() == 1);
  o.answer_all(rest);
  REQUIRE(known->ok());
  CHECK(**known->result);
}

TEST_CASE("remote: a daemon from before authentication is opened all the same") {
  Opening o;
  const auto first = o.flight();
  RemoteError error;
  error.code = kRpc;
  error.domain = kFromRpc;
  error.message = MaybeStr(Str("unknown procedure: 66"));
  o.clock.run(o.peer->refuse(first.at(0), error));
  o.answer_all(o.flight());
  CHECK(o.opened->ok());
}

TEST_CASE("remote: authentication that we do not speak is named") {
  Opening o;
  const auto first = o.flight();
  o.clock.run(o.peer->answer(first.at(0), AuthListRet{std::vector<AuthType>{AuthType::polkit}}));
  o.clock.settle();
  REQUIRE(o.opened->failed());
  CHECK(o.opened->result->error().id == ErrorId::auth_needed);
  CHECK(o.opened->result->error().message.find("polkit") != std::string::npos);
}

TEST_CASE("remote: a refused open is the daemon's own error") {
  Opening o;
  o.answer_auth(o.flight().at(0));
  const auto second = o.flight();
  o.clock.run(o.peer->answer(second.at(0), BoolRet{true}));
  RemoteError error;
  error.code = 5;
  error.domain = 13;
  error.message = MaybeStr(Str("no connection driver available"));
  o.clock.run(o.peer->refuse(second.at(1), error));
  o.clock.settle();
  REQUIRE(o.opened->failed());
  CHECK(o.opened->result->error().wire == WireCode{5, 13});
}

}  // namespace
}  // namespace vmferry::rpc
