// What the phases send and refuse to send, by the kind of driver at the other end.
#include <doctest/doctest.h>

#include "core/drivers/remote/remote.hpp"
#include "core/proto/domain.hpp"
#include "core/proto/error.hpp"
#include "core/proto/migrate.hpp"
#include "tests/core/rpc/script.hpp"

namespace vmferry::rpc {
namespace {

using namespace proto;

/// A connection to a driver of that type that has been asked what it is.
struct Connected {
  asio::io_context io{1};
  SimClock clock{io};
  std::unique_ptr<Scripted> peer;
  std::unique_ptr<Host> host;

  explicit Connected(const std::string& type) {
    PipeEnds ends = make_pipe(io.get_executor());
    peer = std::make_unique<Scripted>(std::move(ends.b));
    const auto opened = begin(io, open_remote(std::move(ends.a), clock, {}));
    while (!opened->result) answer(type);
    REQUIRE(opened->ok());
    host = std::move(**opened->result);
    const auto asked = begin(io, host->brief({}));
    while (!asked->result) answer(type);
    REQUIRE(asked->ok());
  }
  Packet next() { return clock.run(peer->next()); }
  void answer(const std::string& type) {
    const Packet call = next();
    if (call.header.procedure == 66)
      clock.run(peer->answer(call, AuthListRet{std::vector<AuthType>{AuthType::none}}));
    else if (call.header.procedure == ConnectSupportsFeature::number)
      clock.run(peer->answer(call, BoolRet{true}));
    else if (call.header.procedure == ConnectGetType::number)
      clock.run(peer->answer(call, TextRet{Str(type)}));
    else if (call.header.procedure == ConnectGetHostname::number)
      clock.run(peer->answer(call, TextRet{Str("h1")}));
    else if (call.header.procedure == ConnectGetLibVersion::number)
      clock.run(peer->answer(call, U64Ret{9000000}));
    else
      clock.run(peer->answer(call, Void{}));
    clock.settle();
  }
};

PhaseCall moving() {
  PhaseCall call;
  call.domain.name = "g1";
  return call;
}

TEST_CASE("remote: no cookie is sent to a driver that has to have one, and libxl gives none") {
  const PhaseCall call = moving();
  const Cookie none;
  Connected qemu("QEMU");
  const auto refused = begin(qemu.io, qemu.host->perform(call, none, std::nullopt));
  qemu.clock.settle();
  REQUIRE(refused->failed());
  CHECK(refused->result->error().id == ErrorId::protocol);

  Connected xen("Xen");
  const auto performed = begin(xen.io, xen.host->perform(call, none, std::nullopt));
  const Packet sent = xen.next();
  CHECK(sent.header.procedure == MigratePerform3Params::number);
  xen.clock.run(xen.peer->answer(sent, CookieRet{}));
  xen.clock.settle();
  CHECK(performed->ok());
}

TEST_CASE("remote: a cancelled Finish that returns neither domain nor error has cleaned up") {
  const PhaseCall call = moving();
  const Cookie none;
  RemoteError nothing;
  nothing.code = kInternalError;
  nothing.domain = kFromRpc;
  nothing.message = MaybeStr(Str("Library function returned error but did not set virError"));
  for (const Verdict verdict : {Verdict::cancelled, Verdict::completed}) {
    Connected xen("Xen");
    const auto finished = begin(xen.io, xen.host->finish(call, none, verdict));
    const Packet sent = xen.next();
    xen.clock.run(xen.peer->refuse(sent, nothing));
    xen.clock.settle();
    CHECK(finished->ok() == (verdict == Verdict::cancelled));
  }
}

}  // namespace
}  // namespace vmferry::rpc
