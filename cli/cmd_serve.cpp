// Offers hosts of this process to libvirt clients: over the descriptors that ssh gave us, a unix
// socket, or tcp.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/ip/address.hpp>

#include "cli/output.hpp"
#include "cli/spec.hpp"
#include "core/async/race.hpp"
#include "core/base/serve_protocol.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/serve/host_service.hpp"
#include "transports/listen.hpp"

namespace vmferry::cli {

namespace {

using namespace std::chrono_literals;
constexpr Micros kDrain = 30s, kAgain = 200ms;

struct Serve {
  std::string uri = "test:///default";
  std::string listen;
  std::string socket_mode;
  std::uint32_t max_clients = 5000;
  std::optional<std::uint32_t> protocol;
  bool stdio = false, insecure_tcp = false;
  Result<> check() const {
    if (!socket_mode.empty() && !listen.starts_with("unix:"))
      return fail(ErrorId::usage, "--socket-mode is for a unix socket");
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
    option<&Serve::socket_mode>({.name = "socket-mode",
                                 .metavar = "MODE",
                                 .help = "who may use the unix socket; 0600 when not given: only "
                                         "its owner and root, whatever the directory allows"}),
    option<&Serve::max_clients>({.name = "max-clients",
                                 .metavar = "N",
                                 .help = "more are not answered; 5000 when not given"}),
    option<&Serve::protocol>(
        {.name = "protocol",
         .metavar = "N",
         .help =
             "what the client expects of --stdio; vmferry says it when it starts the other end"}),
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
  explicit Clients(const Executor& ex) : changed(ex), drain(ex), end(ex) {}
  std::size_t count = 0, most = 0;
  bool told = false;  ///< that there are too many
  Signal changed;
  Stop drain;  ///< leave those that are not in the middle of something
  Stop end;    ///< no patience left
};

Task<> until_left(std::unique_ptr<Stream> stream, Clock* clock, Opener open, Stop* drain) {
  rpc::ServeOptions options;
  options.drain = drain;
  const Result<> ended =
      co_await serve::serve_client(std::move(stream), *clock, std::move(open), options);
  (void)ended;  // what a client broke is its own affair; the others go on
}

Task<> one_client(std::unique_ptr<Stream> stream, Clock* clock, Opener open,
                  std::shared_ptr<Clients> clients) {
  Task<> serving = until_left(std::move(stream), clock, std::move(open), &clients->drain);
  Task<> ending = clients->end.wait();
  co_await first_of(std::move(serving), std::move(ending));
}

void admit(Context& context, std::unique_ptr<Stream> stream, const Opener& open,
           const std::shared_ptr<Clients>& clients) {
  ++clients->count;
  asio::co_spawn(context.executor, one_client(std::move(stream), &context.clock, open, clients),
                 [clients](const std::exception_ptr&) {
                   --clients->count;
                   clients->changed.notify();
                 });
}

// Others than the owner and root only where the socket's mode says so.
bool welcome(const Peer& peer, bool anybody) {
  return anybody || !peer.uid || *peer.uid == geteuid() || *peer.uid == 0;
}

Task<> accept_all(Context& context, Listener& listener, const Opener& open, bool anybody,
                  std::shared_ptr<Clients> clients) {
  for (;;) {
    Task<Accepted> accepting = listener.accept();
    Result<Accepted> accepted = co_await settle(std::move(accepting));
    if (!accepted) {  // no descriptors left, or the client has gone: others may be luckier
      co_await context.clock.sleep(kAgain);
      continue;
    }
    if (clients->count >= clients->most) {  // the stream closes
      if (!std::exchange(clients->told, true))
        context.sink.err(
            fmt::format("warning: {} clients are here, no more are answered\n", clients->count));
      continue;
    }
    clients->told = false;
    if (welcome(accepted->peer, anybody))
      admit(context, std::move(accepted->stream), open, clients);
  }
}

Task<> all_left(std::shared_ptr<Clients> clients) {
  while (clients->count > 0) co_await clients->changed.wait();
}

// Idle clients are left at once; a migration may go on to its end, as long as that lasts within
// reason. What is still under way then is cancelled, which rolls it back.
Task<> drain(Context& context, std::shared_ptr<Clients> clients) {
  clients->drain.request(context.stop.why());
  Task<> leaving = all_left(clients);
  Task<> grace = context.clock.sleep(kAgain);
  co_await first_of(std::move(leaving), std::move(grace));
  if (clients->count == 0) co_return;
  context.sink.err(fmt::format("{}: waiting up to 30 s for {} clients with work under way\n",
                               context.stop.why(), clients->count));
  Task<> finishing = all_left(clients);
  Task<> patience = context.clock.sleep(kDrain);
  co_await first_of(std::move(finishing), std::move(patience));
  clients->end.request("the server ends");
  co_await all_left(clients);
}

// As many descriptors as the system allows; each client takes one, a migration some more.
std::size_t most_clients(std::size_t asked) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return asked;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::size_t room = limit.rlim_cur > 256 ? limit.rlim_cur - 128 : limit.rlim_cur / 2;
  return std::min(asked, room);
}

// A name like 127.0.0.1.example.org may lead anywhere.
bool loopback(const std::string& host) {
  std::error_code trouble;
  const auto address = asio::ip::make_address(host, trouble);
  return host == "localhost" || (!trouble && address.is_loopback());
}

Result<mode_t> mode_of(const std::string& text) {
  if (text.empty()) return 0600;
  const auto mode = parse_number<mode_t>(text, 8);
  if (!mode || *mode > 0777)
    return fail(ErrorId::usage, "--socket-mode takes an octal mode, as in 0660");
  return *mode;
}

Task<std::unique_ptr<Listener>> listen_at(Context& context, const Serve& options) {
  const std::string& text = options.listen;
  if (text.starts_with("unix:")) {
    const mode_t mode = value_or_throw(mode_of(options.socket_mode));
    if ((mode & 0007) != 0)
      context.sink.err("warning: every user of this machine may do anything to the guests\n");
    co_return listen_unix(context.executor, text.substr(5), mode);
  }
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
  if (options.protocol && *options.protocol != kServeProtocol)
    throw Error(ErrorId::peer_version,
                fmt::format("protocol {} is asked for, vmferry {} speaks {}", *options.protocol,
                            VMFERRY_VERSION, kServeProtocol));
  const Opener open = OpenServed{context.open, options.uri};
  const auto clients = std::make_shared<Clients>(context.executor);
  Task<> stopping = context.stop.wait();
  if (options.stdio) {
    admit(context, stdio_stream(context.executor), open, clients);
    Task<> leaving = all_left(clients);
    co_await first_of(std::move(leaving), std::move(stopping));
    co_await drain(context, clients);
    co_return Exit::done;
  }
  clients->most = most_clients(options.max_clients);
  const std::unique_ptr<Listener> listener = co_await listen_at(context, options);
  context.sink.err(fmt::format("serving {} on {}\n", options.uri, listener->address()));
  const bool anybody = !options.socket_mode.empty();
  Task<> accepting = accept_all(context, *listener, open, anybody, clients);
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
         "migrate. A unix socket has mode 0600, and only its owner and root are answered, unless "
         "--socket-mode says otherwise. Tcp has neither login nor encryption and is limited to "
         "loopback unless insisted upon. On SIGTERM a migration under way may take 30 s to finish; "
         "then it is rolled back.\n\n"
         "What is simulated lives as long as the server. Clients of simulated hosts may name any "
         "host of the same world: test+unix:///other?socket=PATH. Data of migrations between two "
         "servers goes over tcp ports 49152 to 49215 of loopback, of the address that ssh came "
         "in by, or of address=HOST in the URI.",
     .examples =
         "vmferry serve --listen unix:/run/user/1000/vmferry.sock # simulated hosts for virsh\n"
         "vmferry serve --stdio test:///default # what ssh starts at the other end",
     .positionals = kPositionals,
     .options = kOptions,
     .page = true,
     .handles_stop = true});
static_assert(well_formed(kServe));

}  // namespace vmferry::cli
