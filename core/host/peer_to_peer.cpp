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

enum class Known : std::uint8_t { arrived, never_ran, nothing };

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
  if (status.state == DomainState::paused && !far.flags.has(Flag::postcopy_resume))
    far.flags.add(Flag::paused);
  return far;
}

class PeerToPeer {
 public:
  PeerToPeer(const Driving& driving, PhaseCall call, const std::string& uri)
      : driving_(driving), here_(driving.here), uri_(uri), call_(std::move(call)) {}

  Task<> go() {
    auto opened = co_await settle(driving_.open(uri_));
    check_alive();
    if (!opened) throw Error(opened.error()).at(Side::destination);
    there_ = *std::move(opened);
    co_await make_ready();
    Cookie performed;
    if (!offline()) performed = co_await copy();
    co_await shield();  // the guest changes hands: that is not left half done
    co_await finish(std::move(performed));
    check_alive();
    co_await here_.confirm(call_, none_, Verdict::completed);
  }

 private:
  bool offline() const { return call_.flags.has(Flag::offline); }

  // A host that was killed does nothing more, and its connections are closed.
  void check_alive() const {
    if (here_.lost()) throw Error(ErrorId::connect_lost, "the source was restarted meanwhile");
  }

  Task<> release() {
    check_alive();
    if (offline()) co_return;
    const auto released = co_await settle(here_.confirm(call_, none_, Verdict::cancelled));
    (void)released;  // whoever took the job away meanwhile has decided
  }

  Task<> make_ready() {
    begun_ = co_await here_.begin(call_);
    if (!call_.params.has("destination_name"))
      call_.params.set("destination_name", call_.domain.name);
    call_.params.set("destination_xml", begun_.xml);
    const auto status = co_await here_.status(call_.domain);
    far_ = far_call(call_, status);
    Task<Tunnel> preparing = prepare_there(*there_, far_, begun_.cookie);
    Result<Tunnel> tunnel = co_await settle(std::move(preparing));
    check_alive();
    if (!tunnel) {
      co_await shield();
      co_await release();
      throw Error(tunnel.error()).at(Side::destination);
    }
    tunnel_ = std::move(tunnel->data);
    prepared_ = std::move(tunnel->prepared.cookie);
    const auto& uri = tunnel->prepared.uri;
    if (!uri) co_return;
    call_.params.set("migrate_uri", *uri);
    far_.params.set("migrate_uri", *uri);
  }

  Task<Cookie> copy() {
    Task<Cookie> copying = driving_.perform(call_, prepared_, std::move(tunnel_));
    auto performed = co_await settle(std::move(copying));
    check_alive();
    if (performed) co_return *std::move(performed);
    co_await shield();
    const auto ended = co_await settle(there_->finish(far_, none_, Verdict::cancelled));
    (void)ended;  // one that cannot be told loses the incoming guest with this connection
    throw Error(performed.error()).at(Side::source);
  }

  Task<> finish(Cookie performed) {
    const auto finished = co_await settle(there_->finish(far_, performed, Verdict::completed));
    check_alive();
    if (finished) co_return;
    Known known = Known::never_ran;
    if (there_->lost() || finished.error().reply_lost) known = co_await ask();
    check_alive();
    if (known == Known::arrived) co_return;
    if (known == Known::nothing) throw undecided();
    co_await release();
    throw Error(finished.error()).at(Side::destination);
  }

  // What one connection to the destination can tell; nothing: ask again.
  Task<std::optional<Known>> ask_once(Host& peer) {
    const auto started = co_await settle(peer.ever_started(call_.domain, begun_.cookie));
    if (started && *started && !**started) co_return Known::never_ran;
    const auto status = co_await settle(peer.status(call_.domain));
    const bool absent = !status && status.error().id == ErrorId::no_domain;
    if (absent && started) co_return Known::nothing;
    if (!status) co_return std::nullopt;
    const bool incoming = status->paused_by_migration();
    const bool fed = status->runs() && status->reason == kRunningPostcopy;
    if (fed) until_ = driving_.clock.now() + kAskFor;  // its memory still comes from here
    if (incoming || fed) co_return std::nullopt;
    if (offline() && !status->active()) {  // one that only waits for Finish is not there
      const auto kept = co_await settle(peer.is_persistent(call_.domain));
      if (!kept || !*kept) co_return std::nullopt;
    }
    const bool there = status->runs() || (status->active() && far_.flags.has(Flag::paused)) ||
                       (offline() && !status->active());
    const bool broken = status->reason == kPausedPostcopyFailed && status->active();
    co_return there && !broken ? Known::arrived : Known::nothing;
  }

  Task<Known> ask() {
    until_ = driving_.clock.now() + kAskFor;
    while (driving_.clock.now() < until_ && !here_.lost()) {
      auto peer = co_await settle(driving_.open(uri_));
      if (peer) {
        const std::optional<Known> known = co_await ask_once(**peer);
        if (known) co_return *known;
      }
      co_await driving_.clock.sleep(kAskPause);
    }
    co_return Known::nothing;
  }

  const Driving& driving_;
  Host& here_;
  const std::string uri_;
  PhaseCall call_, far_;
  std::unique_ptr<Host> there_;
  std::unique_ptr<Stream> tunnel_;
  Begun begun_;
  Cookie prepared_;
  Micros until_{};
  const Cookie none_;
};

}  // namespace

Task<> drive_peer(const Driving& driving, PhaseCall call, const std::string& uri) {
  PeerToPeer run(driving, std::move(call), uri);
  co_await run.go();
}

}  // namespace vmferry
