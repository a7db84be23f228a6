// The destination's phases: prepare, finish; and the record of what was started.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/graphics.hpp"
#include "core/drivers/qmp/handover.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

std::string own_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

// QEMU gives the whole range one try each, so no port is chosen that someone else takes meanwhile.
std::string listen_uri(const std::string& wanted, const std::string& address, bool here) {
  const MigrateUri uri = value_or_throw(parse_migrate_uri(wanted.empty() ? "tcp:" : wanted));
  if (uri.uri.scheme == "unix") return "unix:" + uri.uri.path;
  if (uri.uri.scheme != "tcp" && !uri.bare())
    throw Error(ErrorId::uri_invalid,
                fmt::format("bare QEMU does not listen on '{}'", escaped(wanted, 200)));
  const std::string host = !address.empty()                ? address
                           : here                          ? "127.0.0.1"
                           : is_ipv6_literal(uri.uri.host) ? "::"
                                                           : "0.0.0.0";
  if (uri.uri.port != 0) return "tcp:" + host_port(host, uri.uri.port);
  return "tcp:" + host_port(host, 49152) + ",to=49215";
}

// "7.2.22" as Client::version_number() writes it.
std::uint64_t version_number(const std::string& text) {
  std::uint64_t number = 0;
  const auto parts = split(text, '.');
  for (std::size_t i = 0; i < 3; ++i)
    number =
        number * 1000 + (i < parts.size() ? parse_number<std::uint64_t>(parts[i]).value_or(0) : 0);
  return number;
}

}  // namespace

void QmpHost::check_arrival(const Definition& arriving) const {
  if (const std::optional<Instance> there = instance(arriving.uuid))
    throw Error(ErrorId::same_host, fmt::format("domain '{}' ({}) runs here already",
                                                escaped(there->name), to_string(there->uuid)))
        .advise("To replace QEMU under a guest use `vmferry upgrade`.");
  for (const Definition& d : store_.definitions())
    if (d.name == arriving.name && d.uuid != arriving.uuid)
      throw Error(ErrorId::exists, fmt::format("another domain '{}' is defined here, with UUID {}",
                                               escaped(d.name), to_string(d.uuid)));
}

NewProcess QmpHost::arriving(const PhaseCall& call, const Offer& offer) {
  const std::string xml = text_param(call, "destination_xml");
  const std::string name = text_param(call, "destination_name");
  Definition d = value_or_throw(read_definition(xml));
  const bool as_it_ran = check_of(xml) == offer.xml_check && !offer.argv.empty();
  if (!name.empty() && name != d.name) d = value_or_throw(renamed(d, name));
  check_arrival(d);
  NewProcess p{.name = d.name, .uuid = d.uuid, .xml = d.xml, .argv = d.argv};
  if (as_it_ran) p.argv = offer.argv;
  const std::vector<std::string> objections = not_startable(p.argv);
  if (!objections.empty()) throw Error(ErrorId::unsupported, joined(objections, "; "));
  set_identity(p.argv, d.name, to_string(d.uuid));
  pin_machine(p.argv, offer.machine);
  p.stage = Stage::incoming;
  p.migration = offer.migration;
  p.transient = true;
  p.same_kernel = offer.host == host_token();
  if (as_it_ran) {
    p.directory = offer.directory;
    p.pid_file = offer.pid_file;
  }
  if (p.same_kernel) {
    place_beside(p, offer, d.private_ram);
    return p;
  }
  // Shared memory for the next time.
  const Ram ram = ram_of(p.argv);
  if (!ram.own.empty() || d.private_ram) return p;
  p.memory = make_memory(kMemoryName, ram.bytes);
  p.shared_ram = ram.bytes;
  return p;
}

// On the host of the source the memory can be taken over, and both processes want the same names
// for a while. Ports are those of a network namespace.
void QmpHost::place_beside(NewProcess& p, const Offer& offer, bool private_ram) {
  Instance running;
  running.process = {offer.pid, offer.start};
  running.argv = offer.argv.empty() ? p.argv : offer.argv;
  const Ram ram = ram_of(p.argv);
  running.shared_ram = offer.shared_ram == ram.bytes ? offer.shared_ram : 0;
  Words argv = p.argv;
  if (!private_ram) {
    Handover memory = value_or_throw(hand_over(running, argv, version_number(offer.version)));
    p.memory = std::move(memory.memory);
    p.shared_ram = memory.bytes;
    p.inherited = std::move(memory.inherited);
    p.taken_over = memory.any;
    p.whole = memory.whole;
    argv = std::move(memory.argv);
  }
  const bool one_network = offer.network == network_token();
  SideBySide beside =
      side_by_side(argv, ".new", fmt::format("{}/{}.vnc", store_.places().run, to_string(p.uuid)),
                   one_network ? belongings_of(running.process) : Belongings{});
  if (one_network && !beside.impossible.empty())
    throw Error(ErrorId::unsupported, "a second process cannot be started beside the first: " +
                                          joined(beside.impossible, "; "));
  p.argv = std::move(beside.kept);
  p.started_as = std::move(beside.argv);
  for (Fd& fd : beside.inherited) p.inherited.push_back(std::move(fd));
  p.renames = std::move(beside.renames);
  p.afterwards = std::move(beside.afterwards);
  if (!beside.vnc_port.empty()) p.afterwards.push_back(vnc_at(beside.vnc_host, beside.vnc_port));
}

Task<Prepared> QmpHost::prepare(const PhaseCall& call, const Cookie& cookie) {
  const Offer offer = value_or_throw(unpack_offer(cookie));
  Prepared out;
  if (call.flags.has(Flag::offline)) {
    Definition d = value_or_throw(read_definition(text_param(call, "destination_xml")));
    const std::string name = text_param(call, "destination_name");
    if (!name.empty()) d = value_or_throw(renamed(d, name));
    check_arrival(d);
    out.cookie = pack(Reply{offer.migration});
    co_return out;
  }
  if (call.flags.has(Flag::postcopy_resume)) {
    Task<Prepared> again = prepare_resume(call, offer);
    out = co_await std::move(again);
    co_return out;
  }
  NewProcess process = arriving(call, offer);
  Reply reply{.migration = offer.migration,
              .hand_over = process.taken_over,
              .whole = process.whole,
              .disk_server = nullptr,
              .beside = !process.started_as.empty(),
              .run = process.same_kernel ? store_.places().run : "",
              .state = process.same_kernel ? store_.places().state : "",
              .graphics = nullptr};
  const Uuid uuid = process.uuid;
  // In post-copy it may hold what the source has sent away already.
  const bool ends_with_us = !call.flags.has(Flag::postcopy);
  arrivals_.insert_or_assign(
      uuid, Arrival{store_.lock_domain(uuid), offer.migration, ends_with_us, process.whole});
  store_.expect(offer.migration, process.same_kernel ? Outlives::program : Outlives::machine);
  const bool whole_disks = call.flags.has(Flag::non_shared_disk);
  if (whole_disks) process.made = make_images(process.argv, process.directory, offer.disks);
  const std::vector<std::string> made = process.made;
  Task<Instance> launching = launch(std::move(process), true);
  auto launched = co_await settle(std::move(launching));
  if (!launched) {
    for (const std::string& image : made) ::unlink(image.c_str());
    throw std::move(launched).error();
  }
  Instance i = *std::move(launched);
  Task<std::string> opening = open_door(i, call, offer, reply);
  auto uri = co_await settle(std::move(opening));
  if (!uri) {
    co_await end(i);
    throw std::move(uri).error();
  }
  out.uri = *std::move(uri);
  out.cookie = pack(reply);
  co_await came_up(i);
  co_return out;
}

// QEMU takes the guest from a socket beside its monitors; what comes through the tunnel is written
// there. That all of it came, Finish asks QEMU.
Task<Tunnel> QmpHost::prepare_tunnel(const PhaseCall& call, const Cookie& cookie) {
  Tunnel tunnel;
  tunnel.prepared = co_await prepare(call, cookie);
  const Reply reply = value_or_throw(unpack_reply(tunnel.prepared.cookie));
  const std::optional<Instance> i = by_migration(reply.migration);
  if (!i) throw Error(ErrorId::no_domain, "the guest that was to come in is gone");
  Task<std::unique_ptr<Stream>> dialling = env_.dial(tunnel_of(i->dir));
  auto dialled = co_await settle(std::move(dialling));
  if (!dialled) {
    co_await shield();
    co_await end(*i);
    throw std::move(dialled).error();
  }
  tunnel.data = *std::move(dialled);
  tunnel.prepared.uri.reset();
  co_return tunnel;
}

Task<std::string> QmpHost::open_door(const Instance& i, const PhaseCall& call, const Offer& offer,
                                     Reply& reply) {
  std::shared_ptr<Client> client = co_await monitor(i);
  std::string seen_as = offer.network == network_token() ? "127.0.0.1" : own_name();
  auto [known, graphics] =
      co_await both(known_capabilities(*client), spice_server(*client, std::move(seen_as)));
  reply.graphics = std::move(graphics);
  Json capabilities = {
      {"capabilities", capability_list(known, call.flags, call.params, reply.hand_over)}};
  co_await set_capabilities(*client, std::move(capabilities));
  Json parameters = parameter_list(call.flags, call.params, false);
  if (!parameters.empty())
    co_await client->execute("migrate-set-parameters", std::move(parameters));
  if (!offer.disks.empty()) {
    Task<> opening = open_disks(*client, i, call, offer, reply);
    co_await std::move(opening);
  }
  if (call.flags.has(Flag::tunnelled)) {
    Json where = {{"uri", "unix:" + tunnel_of(i.dir)}};
    co_await client->execute("migrate-incoming", std::move(where));
    co_return std::string();
  }
  Task<std::string> listening = listen(*client, call, offer, i, "migrate-incoming");
  std::string uri = co_await std::move(listening);
  co_return uri;
}

// Between processes of one machine a unix socket, unless told otherwise.
Task<> QmpHost::open_disks(Client& client, const Instance& i, const PhaseCall& call,
                           const Offer& offer, Reply& reply) {
  const bool here = offer.host == host_token();
  const std::string uri = text_param(call, "disks_uri");
  const auto* port = call.params.get<std::int32_t>("disks_port");
  Json server = {{"type", "unix"}, {"path", i.dir + "/nbd"}};
  std::string seen_as;
  if (!uri.empty() || port != nullptr || !here) {
    const MigrateUri parsed = value_or_throw(parse_migrate_uri(uri.empty() ? "tcp:" : uri));
    const std::string address = text_param(call, "listen_address");
    const std::uint16_t number =
        port != nullptr ? static_cast<std::uint16_t>(*port) : parsed.uri.port;
    server = {{"type", "inet"},
              {"host", !address.empty() ? address
                       : here           ? "127.0.0.1"
                                        : "0.0.0.0"},
              {"port", number == 0 ? std::string() : fmt::format("{}", number)}};
    if (parsed.uri.scheme == "unix") server = {{"type", "unix"}, {"path", parsed.uri.path}};
    const MigrateUri data = value_or_throw(parse_migrate_uri(
        text_param(call, "migrate_uri").empty() ? "tcp:" : text_param(call, "migrate_uri")));
    seen_as = !parsed.uri.host.empty() ? parsed.uri.host
              : !data.uri.host.empty() ? data.uri.host
              : here                   ? "127.0.0.1"
                                       : own_name();
  }
  Task<Json> exporting = export_disks(client, offer.disks, std::move(server));
  reply.disk_server = co_await std::move(exporting);
  if (text_at(reply.disk_server, "type") == "inet") reply.disk_server["host"] = seen_as;
}

// Where the source shall connect to: within one machine a socket beside the monitors, unless told
// otherwise. Nobody else gets at it, no port is taken, and it is quicker.
Task<std::string> QmpHost::listen(Client& client, const PhaseCall& call, const Offer& offer,
                                  const Instance& i, std::string command) {
  const bool here = offer.host == host_token() && offer.network == network_token();
  const std::string address = text_param(call, "listen_address");
  std::string wanted = text_param(call, "migrate_uri");
  if (here && wanted.empty() && address.empty()) {
    if (offer.files == files_token(::getpid()))
      wanted = "unix:" + data_of(i.dir);
    else
      notice("memory goes over tcp: the source's QEMU cannot reach a socket of this host's");
  }
  const std::string at_uri = listen_uri(wanted, address, here);
  Json where = {{"uri", at_uri}};
  co_await client.execute(std::move(command), std::move(where));
  if (at_uri.starts_with("unix:")) co_return at_uri;
  const Json info = co_await client.execute("query-migrate");
  const Json& sockets = at(info, "socket-address");
  const std::string port =
      sockets.is_array() && !sockets.empty() ? text_at(sockets[0], "port") : std::string();
  const auto number = parse_number<std::uint16_t>(port);
  if (!number) throw Error(ErrorId::remote, "QEMU does not say where it listens");
  const MigrateUri uri = value_or_throw(parse_migrate_uri(wanted.empty() ? "tcp:" : wanted));
  const std::string host = !uri.uri.host.empty() ? uri.uri.host : here ? "127.0.0.1" : own_name();
  co_return "tcp:" + host_port(host, *number);
}

Task<Finished> QmpHost::finish_offline(const PhaseCall& call, Verdict verdict) {
  Finished out;
  if (verdict == Verdict::cancelled) co_return out;
  const std::string keep = text_param(call, "persistent_xml");
  Definition d =
      value_or_throw(read_definition(keep.empty() ? text_param(call, "destination_xml") : keep));
  const std::string name = text_param(call, "destination_name");
  if (!name.empty()) d = value_or_throw(renamed(d, name));
  store_.save(d);
  out.domain = DomainRef{d.name, d.uuid, -1};
  co_return out;
}

Task<> QmpHost::keep_definition(const PhaseCall& call, Instance& i) {
  if (call.flags.has(Flag::persist_dest)) {
    const std::string keep = text_param(call, "persistent_xml");
    Definition d = value_or_throw(read_definition(keep.empty() ? i.xml : keep));
    if (d.name != i.name) d = value_or_throw(renamed(d, i.name));
    store_.save(d);
    i.transient = false;
  }
  store_.save(i);
  co_return;
}

// Runs it, or leaves it paused as asked. Errors: `reply_lost` says that it may have run.
Task<Went> QmpHost::let_in(Instance& i, const PhaseCall& call, bool watch_later) {
  if (call.flags.has(Flag::paused)) {
    std::shared_ptr<Client> client = co_await monitor(i);
    Task<> arriving = arrived(*client, env_.clock);
    co_await std::move(arriving);
    store_.starting(i.migration, Outlives::machine);
    co_return Went{};
  }
  Task<Went> running = let_run(i);
  const Went went = co_await std::move(running);
  if (watch_later) {
    beginners_.insert_or_assign(i.uuid, Beginner{i, went});
    co_return went;
  }
  Task<> watching = watch(i, went);
  co_await std::move(watching);
  co_return went;
}

ReadyFinish QmpHost::ready_finish(const PhaseCall& call) {
  const auto arrival = arrivals_.find(call.domain.uuid);
  if (arrival != arrivals_.end()) arrival->second.seen_next = true;
  return Host::ready_finish(call);
}

Task<Finished> QmpHost::finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) {
  if (call.flags.has(Flag::offline)) {
    Finished done = co_await finish_offline(call, verdict);
    co_return done;
  }
  co_await shield();  // whoever asked may leave: it is finished all the same
  Finished out;
  std::optional<Instance> i = incoming(call.domain);
  const auto arrival =  // its lock ends with this call
      arrivals_.extract(i ? i->uuid : call.domain.uuid);
  if (call.flags.has(Flag::postcopy_resume)) {
    out = co_await finish_resume(call, cookie, verdict);
    co_return out;
  }
  if (verdict == Verdict::cancelled) {
    if (i) {
      const std::optional<bool> started = store_.settle_started(i->migration);
      if (started && *started)
        throw Error(ErrorId::invalid_state, "the guest was started here; it is not ended");
      co_await end(*i);
    }
    co_return out;
  }
  if (!i) throw Error(ErrorId::no_domain, "no guest is coming in here");
  Copied copied;
  if (!cookie.empty()) copied = value_or_throw(unpack_copied(cookie));
  if (!cookie.empty() && copied.migration != i->migration)
    throw Error(ErrorId::protocol, "the source's cookie is of another migration");
  i->postcopy = copied.postcopy;
  // The source's copy of memory that was handed over is worth nothing now: its end need not wait.
  const bool watch_later = arrival && arrival.mapped().whole && arrival.mapped().seen_next;
  auto went = co_await settle(let_in(*i, call, watch_later));
  if (!went) {
    const bool never_ran = !went.error().reply_lost;
    Error failure = std::move(went).error();
    failure.note(last_words(store_.log_of(i->uuid), 0));
    if (never_ran) co_await end(*i);
    throw failure;
  }
  i->stage = Stage::active;
  co_await keep_definition(call, *i);
  if (copied.postcopy) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    Task<> coming = all_has_come(*i);
    co_await std::move(coming);
  }
  i->made.clear();
  ::unlink(data_of(i->dir).c_str());
  if (copies_disks(call.flags)) {
    std::shared_ptr<Client> client = co_await monitor(*i);
    co_await settle(client->execute("nbd-server-stop"));  // what is left of it harms nobody
  }
  const std::vector<std::string> troubles = co_await take_names(*i);
  for (const std::string& trouble : troubles) notice("the guest runs here, but: " + trouble);
  const bool one_clock =
      copied.host == host_token() && copied.stopped_at != 0 && went->resumed.count() != 0;
  if (one_clock) {
    const std::int64_t pause = (went->resumed.count() - copied.stopped_at) / 1000;
    copied.stats.fields.set("downtime",
                            static_cast<std::uint64_t>(std::max<std::int64_t>(pause, 0)));
  }
  completed_[i->uuid] = copied.stats;
  out.domain = ref(*i);
  co_return out;
}

Task<std::optional<bool>> QmpHost::ever_started(const DomainRef&, const Cookie& begun) {
  const Offer offer = value_or_throw(unpack_offer(begun));
  co_return store_.settle_started(offer.migration);
}

}  // namespace vmferry::qmp
