// Opening a connection: authentication first, for AUTH_LIST has side effects; then the keepalive
// program and OPEN in one flight.
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

Task<> authenticate(rpc::Client& client, const RemoteOptions& options) {
  auto listed = co_await settle(client.call<AuthList>({}));
  if (!listed && listed.error().wire.code == kNoSupport) co_return;  // from before there was any
  const AuthListRet ret = value_or_throw(std::move(listed));
  const AuthType offered = ret.types.v.empty() ? AuthType::none : ret.types.v.front();
  if (!options.auth.empty() && offered == AuthType::none)
    throw Error(ErrorId::auth_needed, fmt::format("the URI demands auth={}, which the daemon does "
                                                  "not offer",
                                                  options.auth));
  if (offered != AuthType::none) throw cannot_authenticate(offered);
}

Task<bool> offers_keepalive(rpc::Client& client) {
  const BoolRet ret = co_await client.call<ConnectSupportsFeature>({Feature::keepalive});
  co_return ret.value;
}

Task<bool> open(rpc::Client& client, OpenArgs args) {
  co_await client.call<ConnectOpen>(std::move(args));
  co_return true;
}

}  // namespace

Task<std::unique_ptr<Host>> open_remote(std::unique_ptr<Stream> stream, Clock& clock,
                                        RemoteOptions options) {
  const auto ex = co_await asio::this_coro::executor;
  const rpc::ClientOptions keepalive{options.keepalive_interval, options.keepalive_count};
  auto client = std::make_unique<rpc::Client>(std::move(stream), clock, ex, keepalive);
  co_await authenticate(*client, options);
  OpenArgs args;
  if (!options.name.empty()) args.name = MaybeStr(Str(options.name));
  args.flags = options.read_only ? kOpenReadOnly : 0;
  auto [alive, opened] =
      co_await both(settle(offers_keepalive(*client)), settle(open(*client, std::move(args))));
  if (!opened) throw std::move(opened).error();
  if (alive && *alive) client->start_keepalive();
  co_return std::make_unique<RemoteHost>(std::move(client));
}

}  // namespace vmferry
