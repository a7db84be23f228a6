// Peer-to-peer: this host drives the other one.
#include <fmt/format.h>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/test/test_host.hpp"
#include "core/host/peer_to_peer.hpp"

namespace vmferry::sim {

static Task<std::unique_ptr<Host>> open_peer(std::shared_ptr<World> world, std::string from,
                                             std::string uri) {
  if (world->peer_opener) {
    Task<std::unique_ptr<Host>> opening = world->peer_opener(std::move(from), std::move(uri));
    co_return co_await std::move(opening);
  }
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

Task<> TestHost::perform_p2p(PhaseCall call, const std::string& dconnuri) {
  TestHost here(world_, host_, uri_);
  // As the daemons do it among themselves, where they know of it.
  if (ruling(*host_.rules, Opt::change_protection, true, 0).stance == Stance::accepted)
    call.flags.add(Flag::change_protection);
  const Driving driving{
      .clock = world_->clock(),
      .here = here,
      .open = [world = world_, from = host_.spec.name](
                  std::string uri) { return open_peer(world, from, std::move(uri)); },
      .perform =
          [&here](const PhaseCall& far, const Cookie& cookie, std::unique_ptr<Stream> tunnel) {
            return here.perform_here(far, cookie, std::move(tunnel));
          }};
  here.take_for_peer(call);
  Task<> moving = drive_peer(driving, std::move(call), dconnuri);
  co_await std::move(moving);
}

}  // namespace vmferry::sim
