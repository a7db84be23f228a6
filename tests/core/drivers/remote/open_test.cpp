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
  Domain vm{Str("vm"), WireUuid(), 1};
  std::vector<Domain> plain;  // guests that are defined and run

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
        clock.run(peer->answer(call, DomainRet{vm}));
      else if (call.header.procedure == ConnectListAllDomains::number)
        clock.run(peer->answer(call, ListAllDomainsRet{plain, 0}));
      else if (call.header.procedure == ConnectGetHostname::number)
        clock.run(peer->answer(call, TextRet{Str("host1")}));
      else if (call.header.procedure == DomainGetState::number)
        clock.run(peer->answer(call, DomainStateRet{3, 1}));
      else if (call.header.procedure == DomainIsPersistent::number)
        clock.run(peer->answer(call, BoolRet{false}));
      else if (call.header.procedure == ConnectGetType::number)
        clock.run(peer->answer(call, TextRet{Str("Xen")}));
      else if (call.header.procedure == ConnectGetLibVersion::number)
        clock.run(peer->answer(call, U64Ret{9000000}));
      else if (call.header.procedure == AuthList::number)
        answer_auth(call);
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

Task<std::pair<FoundDomain, HostBrief>> survey(Host& host) {
  auto found = co_await both(host.look_up("vm", false), host.brief({}));
  co_return found;
}

RemoteError too_early() {
  RemoteError error;
  error.code = kRpc;
  error.domain = kFromRpc;
  error.message = MaybeStr(Str("authentication required"));
  return error;
}

TEST_CASE("remote: open is one flight, what a migration must know of host and guest another") {
  Opening o({.name = "qemu:///system"});
  const auto first = o.flight();
  CHECK(procedures(first) == std::vector<std::int32_t>{66, 1, 60});
  const auto open = xdr::decode<OpenArgs>(first.at(1).payload);
  REQUIRE(open);
  CHECK(open->name.v->v == "qemu:///system");
  o.answer_all(first);
  REQUIRE(o.opened->ok());
  o.plain = {o.vm};
  const auto known = begin(o.io, survey(***o.opened->result));
  const auto second = o.flight();
  CHECK(procedures(second) == std::vector<std::int32_t>{23, 273, 60, 59});
  o.answer_all(second);
  REQUIRE(known->ok());
  const auto& [found, brief] = **known->result;
  CHECK(found.domain.name == "vm");
  CHECK(found.persistent);
  CHECK(found.status.state == DomainState::running);
  CHECK(brief.features.v3_params);
  CHECK(brief.features.change_protection);
  CHECK(brief.identity.driver == "QEMU");
  CHECK(brief.identity.hostname == "host1");
}

TEST_CASE("remote: a guest that is not defined, or does not run, is asked for its state") {
  Opening o({.name = "qemu:///system"});
  o.answer_all(o.flight());
  const auto known = begin(o.io, survey(***o.opened->result));
  o.answer_all(o.flight());
  const auto third = o.flight();
  CHECK(procedures(third) == std::vector<std::int32_t>{212, 151});
  o.answer_all(third);
  REQUIRE(known->ok());
  CHECK((*known->result)->first.status == DomainStatus{DomainState::paused, 1});
  CHECK_FALSE((*known->result)->first.persistent);
}

TEST_CASE("remote: at most four calls are under way, and no answer is asked for twice") {
  Opening o;  // the daemon's choice of driver: everything must be asked
  o.answer_all(o.flight());
  Host& host = ***o.opened->result;
  const auto known = begin(o.io, host.features());
  const auto second = o.flight();
  CHECK(second.size() == 4);
  o.answer_all(second);
  o.answer_all(o.flight());
  REQUIRE(known->ok());
  const auto again = begin(o.io, host.features());
  CHECK(o.flight().empty());
  CHECK(again->ok());
}

TEST_CASE("remote: an open that overtook the authentication is sent again") {
  Opening o;
  const auto first = o.flight();
  o.clock.run(o.peer->refuse(first.at(1), too_early()));
  o.clock.run(o.peer->refuse(first.at(2), too_early()));
  CHECK(o.flight().empty());  // not before the authentication is done
  o.answer_auth(first.at(0));
  const auto second = o.flight();
  CHECK(procedures(second) == std::vector<std::int32_t>{1});
  o.answer_all(second);
  const auto third = o.flight();
  CHECK(procedures(third) == std::vector<std::int32_t>{60});
  o.answer_all(third);
  CHECK(o.opened->ok());
}

TEST_CASE("remote: closing says goodbye, and waits for the answer a moment only") {
  Opening o;
  o.answer_all(o.flight());
  const auto closed = begin(o.io, (***o.opened->result).close());
  const auto last = o.flight();
  CHECK(procedures(last) == std::vector<std::int32_t>{2});
  CHECK_FALSE(closed->result);
  o.clock.pass(std::chrono::seconds(3));
  CHECK(closed->result);
}

TEST_CASE("remote: a daemon from before authentication is opened all the same") {
  Opening o;
  const auto first = o.flight();
  RemoteError error = too_early();
  error.message = MaybeStr(Str("unknown procedure: 66"));
  o.clock.run(o.peer->refuse(first.at(0), error));
  o.answer_all({first.at(1), first.at(2)});
  CHECK(o.opened->ok());
}

TEST_CASE("remote: authentication that we do not speak is named") {
  Opening o;
  const auto first = o.flight();
  o.clock.run(o.peer->answer(first.at(0), AuthListRet{std::vector<AuthType>{AuthType::polkit}}));
  o.clock.run(o.peer->refuse(first.at(1), too_early()));
  o.clock.run(o.peer->refuse(first.at(2), too_early()));
  o.clock.settle();
  REQUIRE(o.opened->failed());
  CHECK(o.opened->result->error().id == ErrorId::auth_needed);
  CHECK(o.opened->result->error().message.find("polkit") != std::string::npos);
}

TEST_CASE("remote: a refused open is the daemon's own error") {
  Opening o;
  const auto first = o.flight();
  o.answer_auth(first.at(0));
  o.clock.run(o.peer->answer(first.at(2), BoolRet{true}));
  RemoteError error;
  error.code = 5;
  error.domain = 13;
  error.message = MaybeStr(Str("no connection driver available"));
  o.clock.run(o.peer->refuse(first.at(1), error));
  o.clock.settle();
  REQUIRE(o.opened->failed());
  CHECK(o.opened->result->error().wire == WireCode{5, 13});
}

}  // namespace
}  // namespace vmferry::rpc
