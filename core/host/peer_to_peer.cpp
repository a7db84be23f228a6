#include "core/host/peer_to_peer.hpp"

namespace vmferry {

namespace {

using namespace std::chrono_literals;
constexpr Micros kAskFor = 30s, kAskPause = 1s;

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
Task<Known> ask(const Driving& driving, const std::string& uri, const DomainRef& domain,
                const Cookie& begun) {
  const Micros until = driving.clock.now() + kAskFor;
  while (driving.clock.now() < until) {
    auto peer = co_await settle(driving.open(uri));
    if (peer) {
      const auto started = co_await settle((*peer)->ever_started(domain, begun));
      if (started && *started) co_return **started ? Known::runs : Known::never_ran;
      const auto status = co_await settle((*peer)->status(domain));
      if (status && status->runs()) co_return Known::runs;
      if (started && !status && status.error().id == ErrorId::no_domain) co_return Known::nothing;
    }
    co_await driving.clock.sleep(kAskPause);
  }
  co_return Known::nothing;
}

Error undecided() {
  Error error(ErrorId::undecided,
              "the destination's answer was lost, and it could not be asked again; the guest stays "
              "paused here");
  error.wire.code = 9;  // VIR_ERR_OPERATION_FAILED
  return error;
}

// The call as the destination gets it.
PhaseCall far_call(PhaseCall far, const DomainStatus& status) {
  far.flags.remove(Flag::change_protection)
      .remove(Flag::abort_on_error)
      .remove(Flag::auto_converge);
  far.params.remove("persistent_xml");
  if (status.state == DomainState::paused) far.flags.add(Flag::paused);
  return far;
}

}  // namespace

Task<> drive_peer(const Driving& driving, PhaseCall call, const std::string& uri) {
  Host& here = driving.here;
  const Cookie none;
  auto opened = co_await settle(driving.open(uri));
  if (!opened) throw Error(opened.error()).at(Side::destination);
  Host& there = **opened;
  const Begun begun = co_await here.begin(call);
  if (!call.params.has("destination_name")) call.params.set("destination_name", call.domain.name);
  call.params.set("destination_xml", begun.xml);
  const auto status = co_await here.status(call.domain);
  PhaseCall far = far_call(call, status);
  const bool offline = call.flags.has(Flag::offline);
  Task<Tunnel> preparing = prepare_there(there, far, begun.cookie);
  Result<Tunnel> tunnel = co_await settle(std::move(preparing));
  if (!tunnel) {
    co_await shield();
    if (!offline) co_await settle(here.confirm(call, none, Verdict::cancelled));
    throw Error(tunnel.error()).at(Side::destination);
  }
  const Prepared* const prepared = &tunnel->prepared;
  if (prepared->uri) call.params.set("migrate_uri", *prepared->uri);
  if (prepared->uri) far.params.set("migrate_uri", *prepared->uri);
  Cookie arrived;
  if (!offline) {
    Task<Cookie> copying = driving.perform(call, prepared->cookie, std::move(tunnel->data));
    auto performed = co_await settle(std::move(copying));
    if (!performed) {
      co_await shield();
      co_await settle(there.finish(far, none, Verdict::cancelled));
      throw Error(performed.error()).at(Side::source);
    }
    arrived = *std::move(performed);
  }
  co_await shield();  // the guest changes hands: that is not left half done
  const auto finished = co_await settle(there.finish(far, arrived, Verdict::completed));
  if (!finished) {
    Known known = Known::never_ran;
    if (there.lost() || finished.error().reply_lost)
      known = co_await ask(driving, uri, call.domain, begun.cookie);
    if (known == Known::nothing) throw undecided();
    if (known == Known::never_ran) {
      if (!offline) co_await settle(here.confirm(call, none, Verdict::cancelled));
      throw Error(finished.error()).at(Side::destination);
    }
  }
  co_await here.confirm(call, none, Verdict::completed);
}

}  // namespace vmferry
