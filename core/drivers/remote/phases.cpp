// The phases, in each version of the migration protocol (libvirt-domain.c and remote_protocol.x).
#include <fmt/format.h>

#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/error.hpp"
#include "core/proto/migrate.hpp"

namespace vmferry {

using namespace proto;

namespace {

// A phase takes as long as it takes: keepalive notices a dead peer. Prepare and Begin only start
// things.
constexpr rpc::CallOptions kAsLongAsItTakes{.deadline = Micros(0)};
constexpr rpc::CallOptions kSetUp{.deadline = std::chrono::seconds(120)};

std::optional<std::string> text(const Params& params, std::string_view field) {
  const auto* found = params.get<std::string>(field);
  return found ? std::optional(*found) : std::nullopt;
}

MaybeStr dname(const PhaseCall& call) { return to_wire(text(call.params, "destination_name")); }
std::string final_name(const PhaseCall& call) {
  return text(call.params, "destination_name").value_or(call.domain.name);
}
MaybeStr uri(const PhaseCall& call) { return to_wire(text(call.params, "migrate_uri")); }
Str xml(const PhaseCall& call) {
  return Str(text(call.params, "destination_xml").value_or(std::string()));
}
std::uint64_t bandwidth(const PhaseCall& call) {
  const auto* mib = call.params.get<std::uint64_t>("bandwidth");
  return mib ? *mib : 0;
}
std::uint32_t narrow(FlagSet flags) { return static_cast<std::uint32_t>(flags.bits()); }

// A daemon expects what its peer's daemon wrote, so nothing is ever sent in its place. libxl's
// Prepare writes none (src/libxl/libxl_driver.c), and its Perform reads none.
void demand_cookie(const Cookie& cookie, std::string_view from, std::string_view driver) {
  if (cookie.empty() && driver != "Xen")
    throw Error(ErrorId::protocol, fmt::format("{} gave no migration cookie", from));
}

// Finish finds the incoming domain by this name.
Params with_name(const PhaseCall& call) {
  Params params = call.params;
  if (!params.has("destination_name")) params.add("destination_name", call.domain.name);
  return params;
}

Error without_protocol() {
  return Error(ErrorId::internal, "this version of the migration protocol has no such phase");
}

}  // namespace

Task<Begun> RemoteHost::begin(const PhaseCall& call) {
  BeginRet ret;
  if (call.protocol == Protocol::v3_params) {
    Begin3ParamsArgs args{to_wire(call.domain), {to_wire(call.params)}, narrow(call.flags)};
    ret = co_await client_->call<MigrateBegin3Params>(std::move(args), kSetUp);
  } else if (call.protocol == Protocol::v3) {
    Begin3Args args{to_wire(call.domain), to_wire(text(call.params, "destination_xml")),
                    call.flags.bits(), dname(call), bandwidth(call)};
    ret = co_await client_->call<MigrateBegin3>(std::move(args), kSetUp);
  } else {
    throw without_protocol();
  }
  co_return Begun{std::move(ret.cookie_out.v), std::move(ret.xml.v)};
}

Task<Prepared> RemoteHost::prepare(const PhaseCall& call, const Cookie& cookie) {
  PrepareRet ret;
  if (call.protocol >= Protocol::v3) demand_cookie(cookie, "the source's Begin", driver_);
  switch (call.protocol) {
    case Protocol::v3_params: {
      Prepare3ParamsArgs args{{to_wire(call.params)}, cookie, narrow(call.flags)};
      ret = co_await client_->call<MigratePrepare3Params>(std::move(args), kSetUp);
      break;
    }
    case Protocol::v3: {
      Prepare3Args args{cookie,      uri(call),       call.flags.bits(),
                        dname(call), bandwidth(call), xml(call)};
      ret = co_await client_->call<MigratePrepare3>(std::move(args), kSetUp);
      break;
    }
    case Protocol::v2: {
      Prepare2Args args{uri(call), call.flags.bits(), dname(call), bandwidth(call), xml(call)};
      ret = co_await client_->call<MigratePrepare2>(std::move(args), kSetUp);
      break;
    }
    case Protocol::v1: {
      PrepareArgs args{uri(call), call.flags.bits(), dname(call), bandwidth(call)};
      ret = co_await client_->call<MigratePrepare>(std::move(args), kSetUp);
      break;
    }
  }
  co_return Prepared{std::move(ret.cookie_out.v), from_wire(ret.uri_out)};
}

// The answer has no URI: the data goes where the call went.
Task<Tunnel> RemoteHost::prepare_tunnel(const PhaseCall& call, const Cookie& cookie) {
  if (call.protocol >= Protocol::v3) demand_cookie(cookie, "the source's Begin", driver_);
  Tunnel tunnel;
  if (call.protocol == Protocol::v3_params) {
    Prepare3ParamsArgs args{{to_wire(call.params)}, cookie, narrow(call.flags)};
    Task<rpc::Client::Streamed<MigratePrepareTunnel3Params>> asked =
        client_->call_streamed<MigratePrepareTunnel3Params>(std::move(args), kSetUp);
    auto opened = co_await std::move(asked);
    tunnel = {{std::move(opened.ret.cookie_out.v), {}}, std::move(opened.stream)};
  } else if (call.protocol == Protocol::v3) {
    PrepareTunnel3Args args{cookie, call.flags.bits(), dname(call), bandwidth(call), xml(call)};
    Task<rpc::Client::Streamed<MigratePrepareTunnel3>> asked =
        client_->call_streamed<MigratePrepareTunnel3>(std::move(args), kSetUp);
    auto opened = co_await std::move(asked);
    tunnel = {{std::move(opened.ret.cookie_out.v), {}}, std::move(opened.stream)};
  } else {
    PrepareTunnelArgs args{call.flags.bits(), dname(call), bandwidth(call), xml(call)};
    Task<rpc::Client::Streamed<MigratePrepareTunnel>> asked =
        client_->call_streamed<MigratePrepareTunnel>(std::move(args), kSetUp);
    auto opened = co_await std::move(asked);
    tunnel.data = std::move(opened.stream);
  }
  co_return tunnel;
}

Task<Cookie> RemoteHost::perform(const PhaseCall& call, const Cookie& cookie,
                                 std::optional<std::string> dconnuri) {
  const bool by_source = dconnuri || call.flags.has(Flag::peer2peer);
  if (!by_source && call.protocol >= Protocol::v3)
    demand_cookie(cookie, "the destination's Prepare", driver_);
  CookieRet ret;
  if (call.protocol == Protocol::v3_params) {
    Perform3ParamsArgs args{to_wire(call.domain),
                            to_wire(dconnuri),
                            {to_wire(call.params)},
                            cookie,
                            narrow(call.flags)};
    ret = co_await client_->call<MigratePerform3Params>(std::move(args), kAsLongAsItTakes);
  } else if (call.protocol == Protocol::v3) {
    const MaybeStr xmlin = by_source ? to_wire(text(call.params, "destination_xml")) : MaybeStr();
    Perform3Args args{to_wire(call.domain), xmlin,          cookie,
                      to_wire(dconnuri),    uri(call),      call.flags.bits(),
                      dname(call),          bandwidth(call)};
    ret = co_await client_->call<MigratePerform3>(std::move(args), kAsLongAsItTakes);
  } else {
    const std::string where = dconnuri.value_or(text(call.params, "migrate_uri").value_or(""));
    PerformArgs args{to_wire(call.domain), cookie,      Str(where),
                     call.flags.bits(),    dname(call), bandwidth(call)};
    co_await client_->call<MigratePerform>(std::move(args), kAsLongAsItTakes);
  }
  co_return std::move(ret.cookie_out.v);
}

// A cancelled Finish never yields a domain: qemu says "cleaned up as asked" by an error of its own,
// libxl returns none without an error, in whose place the daemon's dispatcher puts this one.
static bool says_cleaned_up(const Error& error) {
  if (error.wire.code == kMigrateFinishOk) return true;
  return error.wire.code == kInternalError && error.message.contains("did not set virError");
}

static Finished finished(Result<FinishRet> ret, Verdict verdict) {
  if (ret) return {from_wire(ret->dom), std::move(ret->cookie_out.v)};
  const bool as_asked = verdict == Verdict::cancelled && says_cleaned_up(ret.error());
  if (!as_asked) throw std::move(ret).error();
  return {};
}

Task<Finished> RemoteHost::finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) {
  auto ret = co_await settle(finish_call(call, cookie, verdict));
  co_return finished(std::move(ret), verdict);
}

Task<FinishRet> RemoteHost::finish_call(const PhaseCall& call, const Cookie& cookie,
                                        Verdict verdict) {
  const bool cancelled = verdict == Verdict::cancelled;
  FinishRet ret;
  if (call.protocol == Protocol::v3_params) {
    const Params params = with_name(call);
    Finish3ParamsArgs args{{to_wire(params)}, cookie, narrow(call.flags), cancelled};
    ret = co_await client_->call<MigrateFinish3Params>(std::move(args), kAsLongAsItTakes);
  } else if (call.protocol == Protocol::v3) {
    Finish3Args args{Str(final_name(call)), cookie,   MaybeStr(), uri(call),
                     call.flags.bits(),     cancelled};
    ret = co_await client_->call<MigrateFinish3>(std::move(args), kAsLongAsItTakes);
  } else if (call.protocol == Protocol::v2) {
    Finish2Args args{Str(final_name(call)), cookie,
                     Str(text(call.params, "migrate_uri").value_or("")), call.flags.bits(),
                     cancelled ? 1 : 0};
    DomainRet there = co_await client_->call<MigrateFinish2>(std::move(args), kAsLongAsItTakes);
    ret.dom = std::move(there.dom);
  } else if (cancelled) {
    throw without_protocol();  // the first protocol's Finish can only run the guest
  } else {
    FinishArgs args{Str(final_name(call)), cookie,
                    Str(text(call.params, "migrate_uri").value_or("")), call.flags.bits()};
    DomainRet there = co_await client_->call<MigrateFinish>(std::move(args), kAsLongAsItTakes);
    ret.dom = std::move(there.dom);
  }
  co_return ret;
}

Task<> RemoteHost::confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) {
  const bool cancelled = verdict == Verdict::cancelled;
  if (call.protocol == Protocol::v3_params) {
    Confirm3ParamsArgs args{
        to_wire(call.domain), {to_wire(call.params)}, cookie, narrow(call.flags), cancelled};
    co_await client_->call<MigrateConfirm3Params>(std::move(args), kAsLongAsItTakes);
  } else if (call.protocol == Protocol::v3) {
    Confirm3Args args{to_wire(call.domain), cookie, call.flags.bits(), cancelled};
    co_await client_->call<MigrateConfirm3>(std::move(args), kAsLongAsItTakes);
  } else {
    throw without_protocol();
  }
}

namespace {

// FINISH3_PARAMS with everything encoded that does not depend on the cookie.
struct EncodedFinish {
  rpc::Client* client;
  std::shared_ptr<const Bytes> params;
  std::uint32_t flags;

  Task<Finished> operator()(const Cookie& cookie, Verdict verdict) const {
    Bytes request;
    request.reserve(params->size() + cookie.size() + 16);
    request = *params;
    xdr::Writer writer(request);
    writer.blob(cookie, kCookieMax);
    xdr::put(writer, flags);
    xdr::put(writer, verdict == Verdict::cancelled);
    if (writer.why()) throw Error(ErrorId::protocol, writer.why());
    return send(*client, std::move(request), verdict);
  }
  static Task<Finished> send(rpc::Client& client, Bytes request, Verdict verdict) {
    auto ret =
        co_await settle(client.call_encoded<MigrateFinish3Params>(request, kAsLongAsItTakes));
    co_return finished(std::move(ret), verdict);
  }
};

}  // namespace

ReadyFinish RemoteHost::ready_finish(const PhaseCall& call) {
  if (call.protocol != Protocol::v3_params) return Host::ready_finish(call);
  const WireParams params{to_wire(with_name(call))};
  auto encoded = std::make_shared<const Bytes>(value_or_throw(xdr::encode(params)));
  return EncodedFinish{client_.get(), std::move(encoded), narrow(call.flags)};
}

}  // namespace vmferry
