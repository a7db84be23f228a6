// Offers hosts of this process to libvirt clients: over the descriptors that ssh gave us, a unix
// socket, or tcp.
#include <fmt/format.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/serve/host_service.hpp"
#include "transports/listen.hpp"

namespace vmferry::cli {

namespace {

using namespace std::chrono_literals;
constexpr Micros kDrain = 30s;
constexpr std::size_t kClients = 5000;

struct Serve {
  std::string uri = "test:///default";
  std::string listen;
  bool stdio = false, insecure_tcp = false;
  Result<> check() const {
    if (stdio == !listen.empty())
      return fail(ErrorId::usage, "serve needs either --stdio or --listen");
    return {};
  }
};
constexpr Option kPositionals[] = {
    option<&Serve::uri>({.name = "uri",
                         .metavar = "URI",
                         .help = "what is served; the simulated hosts when not given",
                         .complete = Complete::uri}),
};
constexpr Option kOptions[] = {
    option<&Serve::stdio>({.name = "stdio", .help = "one client, on standard input and output"}),
    option<&Serve::listen>(
        {.name = "listen", .metavar = "ADDRESS", .help = "unix:PATH or tcp:HOST:PORT"}),
    option<&Serve::insecure_tcp>(
        {.name = "insecure-tcp",
         .help = "tcp on other addresses than loopback, though anybody can then do anything"}),
};

// A client of simulated hosts may name another host of the same world, and nothing else.
struct OpenServed {
  Opener open;
  std::string served;
  Task<std::unique_ptr<Host>> operator()(std::string asked) const {
    const std::string prefix = "test:///";
    const bool simulated = served.starts_with(prefix) && asked.starts_with(prefix);
    const bool plain = asked.find_first_of("?#%.") == std::string::npos &&
                       asked.find('/', prefix.size()) == std::string::npos;
    return open(simulated && plain && asked.size() > prefix.size() ? asked : served);
  }
};

/// The clients of a listener.
struct Clients {
  explicit Clients(const Executor& ex) : changed(ex), end(ex) {}
  std::size_t count = 0;
  Signal changed;
  Stop end;  ///< no patience left
};

Task<> until_left(std::unique_ptr<Stream> stream, Clock* clock, Opener open) {
  const Result<> ended = co_await serve::serve_client(std::move(stream), *clock, std::move(open));
  (void)ended;  // what a client broke is its own affair; the others go on
}

Task<> one_client(std::unique_ptr<Stream> stream, Clock* clock, Opener open,
                  std::shared_ptr<Clients> clients) {
  Task<> serving = until_left(std::move(stream), clock, std::move(open));
  Task<> ending = clients->end.wait();
  co_await first_of(std::move(serving), std::move(ending));
}

Task<bool> accept_one(Listener& listener, Clock& clock, const Opener& open,
                      const std::shared_ptr<Clients>& clients) {
  Accepted accepted = co_await listener.accept();
  const bool stranger =
      accepted.peer.uid && *accepted.peer.uid != geteuid() && *accepted.peer.uid != 0;
  if (stranger || clients->count >= kClients) co_return true;  // the stream closes
  const auto ex = co_await asio::this_coro::executor;
  ++clients->count;
  asio::co_spawn(ex, one_client(std::move(accepted.stream), &clock, open, clients),
                 [clients](const std::exception_ptr&) {
                   --clients->count;
                   clients->changed.notify();
                 });
  co_return true;
}

Task<> accept_all(Listener& listener, Clock& clock, const Opener& open,
                  std::shared_ptr<Clients> clients) {
  while (true) co_await accept_one(listener, clock, open, clients);
}

Task<> all_left(std::shared_ptr<Clients> clients) {
  while (clients->count > 0) co_await clients->changed.wait();
}

// No new clients; those that are here may finish what is under way.
Task<> drain(Context& context, std::shared_ptr<Clients> clients) {
  if (clients->count > 0)
    context.sink.err(
        fmt::format("{}: waiting up to 30 s for {} clients\n", context.stop.why(), clients->count));
  Task<> leaving = all_left(clients);
  Task<> patience = context.clock.sleep(kDrain);
  co_await first_of(std::move(leaving), std::move(patience));
  clients->end.request("the server ends");
  co_await all_left(clients);
}

bool loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Task<std::unique_ptr<Listener>> listen_at(Context& context, const Serve& options) {
  const std::string& text = options.listen;
  if (text.starts_with("unix:")) co_return listen_unix(context.executor, text.substr(5));
  const auto colon = text.rfind(':');
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!text.starts_with("tcp:") || colon < 4 || !port)
    throw Error(ErrorId::usage, "--listen takes unix:PATH or tcp:HOST:PORT");
  std::string host = text.substr(4, colon - 4);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!loopback(host)) {
    if (!options.insecure_tcp)
      throw Error(ErrorId::refused,
                  "tcp has neither login nor encryption: whoever reaches the port owns the guests")
          .advise("Listen on 127.0.0.1 and go there by ssh, or insist with --insecure-tcp.");
    context.sink.err(
        "warning: no login, no encryption: whoever reaches this port owns the guests\n");
  }
  Task<std::unique_ptr<Listener>> listening = listen_tcp(host, *port);
  co_return co_await std::move(listening);
}

Task<Exit> serve(Context& context, Serve options) {
  const Opener open = OpenServed{context.open, options.uri};
  if (options.stdio) {
    Task<> serving = until_left(stdio_stream(context.executor), &context.clock, open);
    Task<> stopping = context.stop.wait();
    co_await first_of(std::move(serving), std::move(stopping));
    co_return Exit::done;
  }
  const std::unique_ptr<Listener> listener = co_await listen_at(context, options);
  context.sink.err(fmt::format("serving {} on {}\n", options.uri, listener->address()));
  const auto clients = std::make_shared<Clients>(context.executor);
  Task<> accepting = accept_all(*listener, context.clock, open, clients);
  Task<> stopping = context.stop.wait();
  co_await first_of(std::move(accepting), std::move(stopping));
  listener->close();
  co_await drain(context, clients);
  co_return Exit::done;
}

}  // namespace

extern constexpr Command kServe = command<Serve, serve>(
    {.name = "serve",
     .group = "Server",
     .summary = "offer hosts of this process to libvirt clients",
     .description =
         "Speaks libvirt's RPC, so that virsh and other libvirt clients can list, inspect and "
         "migrate. A unix socket has mode 0600, and only its owner and root are answered. Tcp has "
         "neither login nor encryption and is limited to loopback unless insisted upon.\n\n"
         "What is simulated lives as long as the server. Clients of simulated hosts may name any "
         "host of the same world: test+unix:///other?socket=PATH.",
     .examples =
         "vmferry serve --listen unix:/run/user/1000/vmferry.sock # simulated hosts for virsh\n"
         "vmferry serve --stdio test:///default # what ssh starts at the other end",
     .positionals = kPositionals,
     .options = kOptions,
     .page = true,
     .handles_stop = true});
static_assert(well_formed(kServe));

}  // namespace vmferry::cli
