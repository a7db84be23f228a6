// Peer-to-peer: this host drives the other one, as libvirt's daemons do, but for one thing: when
// Finish's answer is lost, it asks before it lets its own copy run again.
#include <fmt/format.h>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;
constexpr Micros kAskFor = 30s;

Task<std::unique_ptr<Host>> open_peer(std::shared_ptr<World> world, std::string uri) {
  const std::string prefix = "test:///";
  if (uri.starts_with(prefix)) {
    const std::string name = uri.substr(prefix.size(), uri.find('?') - prefix.size());
    if (world->host(name)) co_return world->connect(name, uri);
  }
  // Whoever may ask this host to migrate may not run programs of their choice on it.
  const auto parsed = parse_connect_uri(uri);
  if (!parsed || parsed->transport == Transport::ext)
    throw refusal(ErrorId::uri_invalid, 8,
                  fmt::format("{}: a host does not open that", escaped(uri, 256)));
  if (!world->opener)
    throw refusal(ErrorId::connect_failed, 38, fmt::format("cannot open {} from here", uri));
  Task<std::unique_ptr<Host>> opening = world->opener(uri);
  std::unique_ptr<Host> peer = co_await std::move(opening);
  co_return peer;
}

Task<Tunnel> prepare_there(Host& there, const PhaseCall& far, const Cookie& cookie) {
  const bool tunnelled = far.flags.has(Flag::tunnelled) && !far.flags.has(Flag::offline);
  if (tunnelled) {
    Task<Tunnel> asked = there.prepare_tunnel(far, cookie);
    co_return co_await std::move(asked);
  }
  Task<Prepared> asked = there.prepare(far, cookie);
  Tunnel plain;
  plain.prepared = co_await std::move(asked);
  co_return plain;
}

enum class Known : std::uint8_t { runs, never_ran, nothing };

// What the destination says over a new connection.
Task<Known> ask(std::shared_ptr<World> world, const std::string& uri, const DomainRef& domain,
                const Cookie& begun) {
  const Micros until = world->now() + kAskFor;
  while (world->now() < until) {
    auto peer = co_await settle(open_peer(world, uri));
    if (peer) {
      const auto started = co_await settle((*peer)->ever_started(domain, begun));
      if (started && *started) co_return **started ? Known::runs : Known::never_ran;
      const auto status = co_await settle((*peer)->status(domain));
      if (status && status->runs()) co_return Known::runs;
      if (started && !status && status.error().id == ErrorId::no_domain) co_return Known::nothing;
    }
    co_await world->clock().sleep(1s);
  }
  co_return Known::nothing;
}

}  // namespace

Task<Cookie> TestHost::perform_p2p(const PhaseCall& given, const std::string& dconnuri) {
  // A connection of the daemon's own: whoever asked may leave.
  TestHost here(world_, host_, uri_);
  const auto world = world_;
  PhaseCall call = given;
  // As the daemons do it among themselves, where they know of it.
  if (ruling(*host_.rules, Opt::change_protection, true, 0).stance == Stance::accepted)
    call.flags.add(Flag::change_protection);
  auto opened = co_await settle(open_peer(world, dconnuri));
  if (!opened) throw Error(opened.error()).at(Side::destination);
  Host& there = **opened;
  const Begun begun = co_await here.begin(call);
  if (!call.params.has("destination_name")) call.params.set("destination_name", call.domain.name);
  call.params.set("destination_xml", begun.xml);
  PhaseCall far = call;
  far.flags.remove(Flag::change_protection)
      .remove(Flag::abort_on_error)
      .remove(Flag::auto_converge);
  far.params.remove("persistent_xml");
  const auto status = co_await here.status(call.domain);
  if (status.state == DomainState::paused) far.flags.add(Flag::paused);
  const bool offline = call.flags.has(Flag::offline);
  const Cookie none;
  Task<Tunnel> preparing = prepare_there(there, far, begun.cookie);
  Result<Tunnel> tunnel = co_await settle(std::move(preparing));
  if (!tunnel) {
    if (!offline) co_await settle(here.confirm(call, none, Verdict::cancelled));
    throw Error(tunnel.error()).at(Side::destination);
  }
  const Prepared* const prepared = &tunnel->prepared;
  if (prepared->uri) call.params.set("migrate_uri", *prepared->uri);
  if (prepared->uri) far.params.set("migrate_uri", *prepared->uri);
  Cookie arrived;
  if (!offline) {
    Task<Cookie> copying = here.perform_here(call, prepared->cookie, std::move(tunnel->data));
    auto performed = co_await settle(std::move(copying));
    if (!performed) {
      co_await settle(there.finish(far, none, Verdict::cancelled));
      throw Error(performed.error()).at(Side::source);
    }
    arrived = *std::move(performed);
  }
  const auto finished = co_await settle(there.finish(far, arrived, Verdict::completed));
  if (!finished) {
    Known known = Known::never_ran;
    if (there.lost() || finished.error().reply_lost)
      known = co_await ask(world, dconnuri, call.domain, begun.cookie);
    if (known == Known::nothing)
      throw refusal(ErrorId::undecided, 9,
                    "the destination's answer was lost, and it could not be asked again; the guest "
                    "stays paused here");
    if (known == Known::never_ran) {
      if (!offline) co_await settle(here.confirm(call, none, Verdict::cancelled));
      throw Error(finished.error()).at(Side::destination);
    }
  }
  co_await here.confirm(call, none, Verdict::completed);
  co_return Cookie{};
}

}  // namespace vmferry::sim
