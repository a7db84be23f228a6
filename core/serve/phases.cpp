// The phases of a migration, straight to the Host, whatever the version of the protocol.
#include "core/proto/convert.hpp"
#include "core/serve/host_service.hpp"

namespace vmferry::serve {

using namespace proto;

namespace {

FlagSet flags_of(std::uint64_t bits) {
  if ((bits >> kFlagCount) != 0) throw Error(ErrorId::usage, "unsupported flags");
  return FlagSet::from_bits(bits);
}

// Where only a name says which domain is meant.
DomainRef named(const Params& params) {
  const auto* name = params.get<std::string>("destination_name");
  return DomainRef{.name = name ? *name : std::string(), .uuid = {}};
}

// The arguments of the versions without parameters, as parameters.
struct Old {
  const MaybeStr& uri;
  const MaybeStr& dname;
  std::uint64_t resource = 0;
  const MaybeStr& xml;
};

Params params_of(const Old& old) {
  Params params;
  if (old.uri.v && !old.uri.v->v.empty()) params.add("migrate_uri", old.uri.v->v);
  if (old.dname.v) params.add("destination_name", old.dname.v->v);
  if (old.xml.v) params.add("destination_xml", old.xml.v->v);
  if (old.resource != 0) params.add("bandwidth", old.resource);
  return params;
}

PhaseCall call_of(Protocol protocol, DomainRef domain, Params params, std::uint64_t flags) {
  return PhaseCall{protocol, std::move(domain), std::move(params), flags_of(flags)};
}

Verdict verdict_of(bool cancelled) { return cancelled ? Verdict::cancelled : Verdict::completed; }

Error finished_ok() {
  Error error(ErrorId::cancelled, "migration successfully aborted");
  error.wire.code = kMigrateFinishOk;
  return error;
}

}  // namespace

// What is noted here only decides how long a draining server waits, so a client that names no
// domain or never goes on does no harm: its connection's end clears it all.

Task<BeginRet> HostService::begin(const PhaseCall& call) {
  Begun begun = co_await host().begin(call);
  leaving_.insert(call.domain.uuid);
  co_return BeginRet{std::move(begun.cookie), std::move(begun.xml)};
}

Task<PrepareRet> HostService::prepare(const PhaseCall& call, const Cookie& cookie) {
  Prepared done = co_await host().prepare(call, cookie);
  ++coming_;
  co_return PrepareRet{std::move(done.cookie), to_wire(done.uri)};
}

Task<Cookie> HostService::prepare_tunnel(const PhaseCall& call, const Cookie& cookie,
                                         rpc::Opened& opened) {
  Tunnel tunnel = co_await host().prepare_tunnel(call, cookie);
  ++coming_;
  opened = std::move(tunnel.data);
  co_return std::move(tunnel.prepared.cookie);
}

Task<Cookie> HostService::perform(const PhaseCall& call, const Cookie& cookie,
                                  std::optional<std::string> dconnuri) {
  const bool last = dconnuri || call.protocol < Protocol::v3;
  Task<Cookie> copy = host().perform(call, cookie, std::move(dconnuri));
  Result<Cookie> done = co_await settle(std::move(copy));
  if (!done || last) leaving_.erase(call.domain.uuid);
  co_return value_or_throw(std::move(done));
}

Task<> HostService::confirm(const PhaseCall& call, const Cookie& cookie, bool cancelled) {
  const Verdict verdict = verdict_of(cancelled);
  Task<> telling = host().confirm(call, cookie, verdict);
  const Result<> told = co_await settle(std::move(telling));
  leaving_.erase(call.domain.uuid);
  if (!told) throw Error(told.error());
}

// There is no domain to return when the incoming one was cleaned up as asked: libvirt says so with
// an error of its own.
Task<Finished> HostService::finish(const PhaseCall& call, const Cookie& cookie, bool cancelled) {
  const Verdict verdict = verdict_of(cancelled);
  Task<Finished> ending = host().finish(call, cookie, verdict);
  Result<Finished> ended = co_await settle(std::move(ending));
  coming_ -= coming_ > 0 ? 1 : 0;
  Finished done = value_or_throw(std::move(ended));
  if (done.domain) co_return done;
  if (cancelled) throw finished_ok();
  throw Error(ErrorId::remote, "the incoming domain is gone");
}

// -- with parameters ------------------------------------------------------------------------------

Task<BeginRet> HostService::on(MigrateBegin3Params, Begin3ParamsArgs args) {
  const PhaseCall call =
      call_of(Protocol::v3_params, from_wire(args.dom), from_wire(args.params.v), args.flags);
  BeginRet ret = co_await begin(call);
  co_return ret;
}

Task<PrepareRet> HostService::on(MigratePrepare3Params, Prepare3ParamsArgs args) {
  Params params = from_wire(args.params.v);
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3_params, domain, std::move(params), args.flags);
  PrepareRet ret = co_await prepare(call, args.cookie_in.v);
  co_return ret;
}

Task<CookieRet> HostService::on(MigratePrepareTunnel3Params, Prepare3ParamsArgs args,
                                rpc::Opened& opened) {
  Params params = from_wire(args.params.v);
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3_params, domain, std::move(params), args.flags);
  Cookie cookie = co_await prepare_tunnel(call, args.cookie_in.v, opened);
  co_return CookieRet{std::move(cookie)};
}

Task<CookieRet> HostService::on(MigratePerform3Params, Perform3ParamsArgs args) {
  const PhaseCall call =
      call_of(Protocol::v3_params, from_wire(args.dom), from_wire(args.params.v), args.flags);
  Task<Cookie> copy = perform(call, args.cookie_in.v, from_wire(args.dconnuri));
  Cookie cookie = co_await std::move(copy);
  co_return CookieRet{std::move(cookie)};
}

Task<FinishRet> HostService::on(MigrateFinish3Params, Finish3ParamsArgs args) {
  Params params = from_wire(args.params.v);
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3_params, domain, std::move(params), args.flags);
  Finished done = co_await finish(call, args.cookie_in.v, args.cancelled);
  co_return FinishRet{to_wire(*done.domain), std::move(done.cookie)};
}

Task<Void> HostService::on(MigrateConfirm3Params, Confirm3ParamsArgs args) {
  const PhaseCall call =
      call_of(Protocol::v3_params, from_wire(args.dom), from_wire(args.params.v), args.flags);
  co_await confirm(call, args.cookie_in.v, args.cancelled);
  co_return Void{};
}

// -- version 3 ------------------------------------------------------------------------------------

Task<BeginRet> HostService::on(MigrateBegin3, Begin3Args args) {
  Params params = params_of({MaybeStr(), args.dname, args.resource, args.xmlin});
  const PhaseCall call = call_of(Protocol::v3, from_wire(args.dom), std::move(params), args.flags);
  BeginRet ret = co_await begin(call);
  co_return ret;
}

Task<PrepareRet> HostService::on(MigratePrepare3, Prepare3Args args) {
  const MaybeStr xml(std::move(args.dom_xml));
  Params params = params_of({args.uri_in, args.dname, args.resource, xml});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3, domain, std::move(params), args.flags);
  PrepareRet ret = co_await prepare(call, args.cookie_in.v);
  co_return ret;
}

Task<CookieRet> HostService::on(MigratePerform3, Perform3Args args) {
  Params params = params_of({args.uri, args.dname, args.resource, args.xmlin});
  const PhaseCall call = call_of(Protocol::v3, from_wire(args.dom), std::move(params), args.flags);
  Task<Cookie> copy = perform(call, args.cookie_in.v, from_wire(args.dconnuri));
  Cookie cookie = co_await std::move(copy);
  co_return CookieRet{std::move(cookie)};
}

Task<FinishRet> HostService::on(MigrateFinish3, Finish3Args args) {
  const MaybeStr name(args.dname);
  Params params = params_of({args.uri, name, 0, MaybeStr()});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3, domain, std::move(params), args.flags);
  Finished done = co_await finish(call, args.cookie_in.v, args.cancelled);
  co_return FinishRet{to_wire(*done.domain), std::move(done.cookie)};
}

Task<Void> HostService::on(MigrateConfirm3, Confirm3Args args) {
  const PhaseCall call = call_of(Protocol::v3, from_wire(args.dom), Params{}, args.flags);
  co_await confirm(call, args.cookie_in.v, args.cancelled);
  co_return Void{};
}

Task<CookieRet> HostService::on(MigratePrepareTunnel3, PrepareTunnel3Args args,
                                rpc::Opened& opened) {
  const MaybeStr none, xml(std::move(args.dom_xml));
  Params params = params_of({none, args.dname, args.resource, xml});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v3, domain, std::move(params), args.flags);
  Cookie cookie = co_await prepare_tunnel(call, args.cookie_in.v, opened);
  co_return CookieRet{std::move(cookie)};
}

// -- versions 2 and 1 -----------------------------------------------------------------------------

Task<PrepareRet> HostService::on(MigratePrepare2, Prepare2Args args) {
  const MaybeStr xml(std::move(args.dom_xml));
  Params params = params_of({args.uri_in, args.dname, args.resource, xml});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v2, domain, std::move(params), args.flags);
  const Cookie none;
  PrepareRet ret = co_await prepare(call, none);
  co_return ret;
}

Task<PrepareRet> HostService::on(MigratePrepare, PrepareArgs args) {
  Params params = params_of({args.uri_in, args.dname, args.resource, MaybeStr()});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v1, domain, std::move(params), args.flags);
  const Cookie none;
  PrepareRet ret = co_await prepare(call, none);
  co_return ret;
}

Task<Void> HostService::on(MigratePrepareTunnel, PrepareTunnelArgs args, rpc::Opened& opened) {
  const MaybeStr none, xml(std::move(args.dom_xml));
  Params params = params_of({none, args.dname, args.resource, xml});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v2, domain, std::move(params), args.flags);
  const Cookie nothing;
  co_await prepare_tunnel(call, nothing, opened);
  co_return Void{};
}

// One procedure for both versions; with peer-to-peer, its URI is the other daemon's.
Task<Void> HostService::on(MigratePerform, PerformArgs args) {
  const FlagSet flags = flags_of(args.flags);
  std::optional<std::string> dconnuri;
  const MaybeStr uri(args.uri);
  if (flags.has(Flag::peer2peer)) dconnuri = args.uri.v;
  Params params = params_of({dconnuri ? MaybeStr() : uri, args.dname, args.resource, MaybeStr()});
  const PhaseCall call = call_of(Protocol::v2, from_wire(args.dom), std::move(params), args.flags);
  Task<Cookie> copy = perform(call, args.cookie.v, std::move(dconnuri));
  co_await std::move(copy);
  co_return Void{};
}

Task<DomainRet> HostService::on(MigrateFinish2, Finish2Args args) {
  const MaybeStr name(args.dname), uri(args.uri);
  Params params = params_of({uri, name, 0, MaybeStr()});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v2, domain, std::move(params), args.flags);
  const bool cancelled = args.retcode != 0;
  Finished done = co_await finish(call, args.cookie.v, cancelled);
  co_return DomainRet{to_wire(*done.domain)};
}

Task<DomainRet> HostService::on(MigrateFinish, FinishArgs args) {
  const MaybeStr name(args.dname), uri(args.uri);
  Params params = params_of({uri, name, 0, MaybeStr()});
  const DomainRef domain = named(params);
  const PhaseCall call = call_of(Protocol::v1, domain, std::move(params), args.flags);
  Finished done = co_await finish(call, args.cookie.v, false);
  co_return DomainRet{to_wire(*done.domain)};
}

}  // namespace vmferry::serve
