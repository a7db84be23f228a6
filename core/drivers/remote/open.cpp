// Opening a connection: authentication, OPEN and the keepalive program in one flight.
//
// AUTH_LIST is no mere question: for root on a daemon that asks polkit it *is* the authentication.
// The daemon's workers may take OPEN first, and refuse it; then it is sent again. (Measured with
// libvirt 9.0: none of 200 when each call is written on its own.)
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/drivers/remote/remote_host.hpp"
#include "core/proto/connect.hpp"

namespace vmferry {

namespace {

using namespace proto;

std::string_view name(AuthType type) {
  if (type == AuthType::sasl) return "SASL";
  return type == AuthType::polkit ? "polkit" : "an unknown kind of authentication";
}

Error cannot_authenticate(AuthType type) {
  Error error(ErrorId::auth_needed,
              fmt::format("the daemon asks for {}, which vmferry does not speak", name(type)));
  error.remedy =
      type == AuthType::polkit
          ? "Run vmferry as root there, or connect over ssh as root (qemu+ssh://root@host/system)."
          : "Connect over ssh (qemu+ssh://root@host/system), or use a socket without SASL.";
  return error;
}

// Fails unless the daemon asks for nothing.
void check_auth(Result<AuthListRet> listed, const RemoteOptions& options) {
  if (!listed && listed.error().wire.code == kNoSupport) return;  // from before there was any
  const AuthListRet ret = value_or_throw(std::move(listed));
  const AuthType offered = ret.types.v.empty() ? AuthType::none : ret.types.v.front();
  if (!options.auth.empty() && offered == AuthType::none)
    throw Error(ErrorId::auth_needed, fmt::format("the URI demands auth={}, which the daemon does "
                                                  "not offer",
                                                  options.auth));
  if (offered != AuthType::none) throw cannot_authenticate(offered);
}

// RPC or, long ago, AUTH_FAILED: the call came before the authentication.
template <class T>
bool too_early(const Result<T>& result) {
  return !result && (result.error().wire.code == kRpc || result.error().wire.code == kAuthFailed);
}

Task<bool> offers_keepalive(rpc::Client& client) {
  const BoolRet ret = co_await client.call<ConnectSupportsFeature>({Feature::keepalive});
  co_return ret.value;
}

Task<bool> open(rpc::Client& client, OpenArgs args) {
  co_await client.call<ConnectOpen>(std::move(args));
  co_return true;
}

struct Greeting {
  Result<AuthListRet> auth;
  Result<bool> opened, alive;
};

Task<Greeting> greet(rpc::Client& client, const OpenArgs& args) {
  Task<Result<AuthListRet>> listing = settle(client.call<AuthList>({}));
  Task<Result<bool>> opening = settle(open(client, args));
  auto [auth, rest] =
      co_await both(std::move(listing), both(std::move(opening), settle(offers_keepalive(client))));
  co_return Greeting{std::move(auth), std::move(rest.first), std::move(rest.second)};
}

}  // namespace

Task<std::unique_ptr<Host>> open_remote(std::unique_ptr<Stream> stream, Clock& clock,
                                        RemoteOptions options) {
  const auto ex = co_await asio::this_coro::executor;
  const rpc::ClientOptions keepalive{options.keepalive_interval, options.keepalive_count};
  auto client = std::make_unique<rpc::Client>(std::move(stream), clock, ex, keepalive);
  OpenArgs args;
  if (!options.name.empty()) args.name = MaybeStr(Str(options.name));
  args.flags = options.read_only ? kOpenReadOnly : 0;
  Greeting said = co_await greet(*client, args);
  check_auth(std::move(said.auth), options);
  if (too_early(said.opened)) {
    said.opened = co_await settle(open(*client, args));
  }
  if (too_early(said.alive)) {
    said.alive = co_await settle(offers_keepalive(*client));
  }
  if (!said.opened) throw std::move(said.opened).error();
  if (said.alive && *said.alive) client->start_keepalive();
  co_return std::make_unique<RemoteHost>(std::move(client), options.name);
}

}  // namespace vmferry
