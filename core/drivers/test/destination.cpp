// The destination's phases: prepare, finish.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/uri.hpp"
#include "core/drivers/test/reception.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {
std::string incoming_name(const PhaseCall& call, const std::string& otherwise) {
  const auto* given = call.params.get<std::string>("destination_name");
  return given && !given->empty() ? *given : otherwise;
}
}  // namespace

// Where data for this guest will be taken: as asked; without a host, tcp where others reach us.
DataAddress TestHost::address_for(const PhaseCall& call) const {
  const auto* address = call.params.get<std::string>("listen_address");
  DataAddress at{"tcp", address ? *address : std::string(), 0};
  if (const auto* given = call.params.get<std::string>("migrate_uri"); given && !given->empty()) {
    const std::string whole = complete_uri(*host_.rules, *given);
    const MigrateUri uri = value_or_throw(parse_migrate_uri(whole));
    const auto objections = check_uri(*host_.rules, whole);
    if (!objections.empty())
      throw refusal(ErrorId::remote, objections.front().code, objections.front().reason);
    if (uri.uri.scheme == "unix") return {"unix", uri.uri.path, 1};
    at.scheme = uri.uri.scheme;
    if (!uri.uri.host.empty()) at.host = uri.uri.host;
    at.port = uri.uri.port;
  }
  return at;
}

std::string TestHost::listen_here(const PhaseCall& call, const std::shared_ptr<Guest>& guest) {
  const DataAddress at = address_for(call);
  const std::string& host = at.host.empty() ? host_.spec.name : at.host;
  return world_->listen(host_, guest, at.scheme, host, at.port);
}

// For a guest that leaves another host of this process no socket is needed.
Task<> TestHost::listen_for(const PhaseCall& call, const std::shared_ptr<Guest>& guest,
                            std::shared_ptr<Incoming> in) {
  if (!world_->network || world_->leaves(in->id)) {
    listen_for_disks(call, guest);
    in->uri = listen_here(call, guest);
    co_return;
  }
  DataAddress at = address_for(call);
  if (at.host.empty()) at.host = host_.spec.address;
  if (call.flags.has(Flag::tls))
    throw refusal(ErrorId::unsupported, 84,
                  "there is no TLS for data between simulated hosts of two processes");
  Task<std::unique_ptr<DataListener>> listening = world_->network->listen(std::move(at));
  std::unique_ptr<DataListener> listener = co_await std::move(listening);
  if (in->gone) throw refusal(ErrorId::remote, 9, "the incoming guest was ended meanwhile");
  in->uri = listener->uri();
  world_->listen_at(host_, guest, in->uri);
  in->reception->accept_on(std::move(listener), in->id);
}

// Closes with the Incoming, whoever else still holds it.
static std::shared_ptr<Reception> held(const std::shared_ptr<Reception>& reception) {
  return {reception.get(), [reception](Reception* r) { r->close(); }};
}

Task<> TestHost::open_ways(const PhaseCall& call, const std::shared_ptr<Guest>& guest,
                           std::shared_ptr<Incoming> in, std::unique_ptr<Stream>* tunnel) {
  const auto ex = co_await asio::this_coro::executor;
  if (tunnel || (world_->network && !world_->leaves(in->id)))
    in->reception = held(std::make_shared<Reception>(world_, guest, in, ex));
  if (tunnel) {
    *tunnel = in->reception->tunnel();
    co_return;
  }
  if (call.flags.has(Flag::tunnelled))
    throw refusal(ErrorId::remote, 1, "a tunnelled migration was prepared without a tunnel");
  co_await listen_for(call, guest, in);
}

// Version 1 tells the destination no more than a name; the guest's XML comes with its memory.
GuestSpec TestHost::yet_unknown(const PhaseCall& call) {
  GuestSpec spec;
  spec.name = incoming_name(call, std::string(kUnnamed));
  const MigrationId random = world_->new_id();
  std::ranges::copy(random, spec.uuid.bytes.begin());
  return spec;
}

// Post-copy that broke is taken up again: the guest is here, and needs a new stream.
Prepared TestHost::prepare_resume(const PhaseCall& call, const CookieBody& begun) {
  if (world_->network && !world_->leaves(begun.id))
    throw refusal(ErrorId::unsupported, 84,
                  "post-copy between simulated hosts of two processes cannot be taken up again");
  const auto found = guest_named(incoming_name(call, call.domain.name));
  if (!found || !found->in || !found->in->postcopy || found->in->finishing)
    throw refusal(ErrorId::invalid_state, 55, "no post-copy migration into this host has failed");
  found->in->id = begun.id;
  found->in->finishing = false;
  found->in->owner = connection_;
  world_->unlisten(found->in->uri);
  found->in->uri = listen_here(call, found);
  Prepared prepared;
  prepared.uri = found->in->uri;
  prepared.cookie = encode({CookieBody::Kind::prepared,
                            host_.spec.lowest,
                            host_.spec.highest,
                            static_cast<std::uint8_t>(found->in->version),
                            begun.id,
                            {}});
  return prepared;
}

// Where disks are taken, beside the memory.
void TestHost::listen_for_disks(const PhaseCall& call, const std::shared_ptr<Guest>& guest) {
  const bool copied = call.flags.has(Flag::non_shared_disk) || call.flags.has(Flag::non_shared_inc);
  if (!copied || guest->spec.disks.empty()) return;
  std::string scheme = "nbd+tcp";
  std::string address = host_.spec.name;
  std::uint16_t port = 0;
  if (const auto* given = call.params.get<std::int32_t>("disks_port"))
    port = static_cast<std::uint16_t>(std::clamp(*given, 0, 65535));
  if (const auto* given = call.params.get<std::string>("disks_uri")) {
    const MigrateUri uri = value_or_throw(parse_migrate_uri(*given));
    scheme = "nbd+" + uri.uri.scheme;
    address = uri.uri.scheme == "unix" ? uri.uri.path : uri.uri.host;
    port = uri.uri.scheme == "unix" ? 1 : uri.uri.port;
  }
  guest->in->disks_uri = world_->listen(host_, guest, scheme, address, port);
}

std::shared_ptr<Guest> TestHost::make_incoming(const PhaseCall& call,
                                               std::shared_ptr<Incoming> in) {
  const auto* xml = call.params.get<std::string>("destination_xml");
  GuestSpec spec;
  if (call.protocol == Protocol::v1)
    spec = yet_unknown(call);
  else if (xml)
    spec = value_or_throw(parse_guest(*xml, world_->seed()));
  else
    throw refusal(ErrorId::unsupported, 3, "a guest can only be prepared from its XML");
  const std::string name = incoming_name(call, spec.name);
  const auto named = guest_named(name);
  if (named && named->spec.uuid != spec.uuid)
    throw refusal(ErrorId::exists, 9,
                  fmt::format("domain '{}' already exists with another UUID", name));
  const auto at = host_.guests.find(spec.uuid);
  const auto made = at == host_.guests.end() ? std::make_shared<Guest>() : at->second;
  if (made->active() || made->in)
    throw refusal(ErrorId::exists, 55,
                  fmt::format("domain '{}' is already active here", made->name));
  if (made->persistent) in->before = made->spec;
  made->spec = std::move(spec);
  made->in = std::move(in);
  made->in->yet_unknown = call.protocol == Protocol::v1;
  host_.take(made, name);
  return made;
}

Task<Prepared> TestHost::prepare(const PhaseCall& call, const Cookie& cookie) {
  Task<Prepared> preparing = prepare_incoming(call, cookie, nullptr);
  co_return co_await std::move(preparing);
}

Task<Tunnel> TestHost::prepare_tunnel(const PhaseCall& call, const Cookie& cookie) {
  Tunnel tunnel;
  Task<Prepared> preparing = prepare_incoming(call, cookie, &tunnel.data);
  tunnel.prepared = co_await std::move(preparing);
  tunnel.prepared.uri.reset();
  co_return tunnel;
}

Task<Prepared> TestHost::prepare_incoming(const PhaseCall& call, const Cookie& cookie,
                                          std::unique_ptr<Stream>* tunnel) {
  check_open();
  // Here the parameter carries the guest itself, for every driver; what the user may say of it was
  // checked at begin.
  PhaseCall said = call;
  said.params.remove("destination_xml");
  CookieBody begun{CookieBody::Kind::begun, 1, 1, 0, world_->new_id(), {}};
  if (!cookie.empty()) begun = value_or_throw(decode_cookie(cookie, CookieBody::Kind::begun));
  const bool offline = call.flags.has(Flag::offline) || begun.text == kStoppedGuest;
  check_rules(said, !offline);
  auto agreed = agree(begun, host_.spec.lowest, host_.spec.highest);
  if (!agreed) throw refusal(ErrorId::unsupported, 84, agreed.error().message);
  if (host_.record.contains(begun.id))
    throw refusal(ErrorId::remote, 55, "this migration was given up before it came here");
  if (call.flags.has(Flag::postcopy_resume)) co_return prepare_resume(call, begun);
  const std::uint64_t free = co_await free_memory();
  auto in = std::make_shared<Incoming>();
  in->id = begun.id;
  in->owner = connection_;
  in->version = *agreed;
  in->flags = call.flags;
  in->began = world_->now();
  in->offline = offline;
  const auto made = make_incoming(call, in);
  if (!offline && made->spec.memory_kib * 1024 > free) {
    end_incoming(made);
    throw refusal(ErrorId::remote, 1, "cannot set up guest memory: not enough is free");
  }
  co_await work();
  if (made->in != in) throw refusal(ErrorId::remote, 9, "the incoming guest was ended meanwhile");
  Prepared prepared;
  if (!offline) {
    made->id = host_.next_id++;
    made->memory = Memory::empty(made->spec.shape);
    made->ran_until = world_->now();
    made->writes_due = 0;
    made->status = {DomainState::paused, kPausedMigration};
    Task<> opening = open_ways(call, made, in, tunnel);
    const Result<> opened = co_await settle(std::move(opening));
    if (!opened) {
      if (!in->gone) end_incoming(made);
      throw Error(opened.error());
    }
    world_->emit_lifecycle(host_, *made, kEventStarted, kStartedMigrated);
    prepared.uri = in->uri;
  } else if (host_.rules->habits.moves_stopped) {
    prepared.uri = in->uri = listen_here(call, made);
  } else {  // nothing will come, but libvirt's client insists on an address
    prepared.uri = "tcp://" + host_.spec.name;
  }
  prepared.cookie = encode(
      {CookieBody::Kind::prepared, host_.spec.lowest, host_.spec.highest, *agreed, in->id, {}});
  co_return prepared;
}

Task<> TestHost::work() {
  if (world_->work > Micros::zero()) co_await world_->clock().sleep(world_->work);
}

Result<> TestHost::persist(Guest& guest, const PhaseCall& call, const std::string& xml) {
  const bool keeps = guest.in->offline || host_.rules->habits.keeps_there;
  if (!call.flags.has(Flag::persist_dest) && !keeps) return {};
  const auto* given = call.params.get<std::string>("persistent_xml");
  const std::string text = given ? *given : xml;
  if (!text.empty()) {
    Result<GuestSpec> spec = parse_guest(text, world_->seed());
    if (!spec) return std::unexpected(std::move(spec).error());
    guest.spec.xml = spec->xml;
  }
  const bool fresh = !std::exchange(guest.persistent, true);
  world_->emit_lifecycle(host_, guest, kEventDefined, fresh ? 0 : 1);
  return {};
}

// The CPUs begin to run here, or stand still as asked.
Task<> TestHost::start_guest(std::shared_ptr<Guest> guest, const PhaseCall& call) {
  if (guest->in->postcopy) {
    Task<> running = run_postcopy(guest);
    co_await std::move(running);
  } else if (call.flags.has(Flag::paused) && !guest->in->offline) {
    guest->status.reason = kPausedUser;
    world_->emit_lifecycle(host_, *guest, kEventSuspended, 0);
  } else if (!guest->in->offline) {
    world_->run(host_, *guest, kRunningMigrated, kResumedMigrated);
  }
}

Task<> TestHost::run_postcopy(std::shared_ptr<Guest> guest) {
  world_->run(host_, *guest, kRunningPostcopy, kResumedPostcopy);
  const bool pushed = guest->in->reception != nullptr;
  Task<> feeding = pushed ? await_postcopy(*world_, guest) : feed_postcopy(*world_, guest);
  const auto fed = co_await settle(std::move(feeding));
  if (!guest->active()) throw refusal(ErrorId::remote, 9, "the incoming guest died");
  guest->in->finishing = guest->in->finishing && fed;
  if (!fed) {
    world_->pause(host_, *guest, kPausedPostcopyFailed, kSuspendedPostcopyFailed);
    throw Error(fed.error());
  }
  world_->run(host_, *guest, kRunningMigrated, kResumedMigrated);
}

Task<Finished> TestHost::finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) {
  check_open();
  const std::string name = incoming_name(call, call.domain.name);
  const auto found = guest_named(name);
  if (!found || !found->in)
    throw refusal(ErrorId::no_domain, 42, fmt::format("no incoming domain '{}'", name));
  const auto in = found->in;
  const bool resumed = found->status.reason == kPausedPostcopyFailed && found->active();
  if (resumed && !call.flags.has(Flag::postcopy_resume))
    throw refusal(ErrorId::invalid_state, 55, "post-copy into this host has failed");
  if (in->finishing)
    throw refusal(ErrorId::invalid_state, 55,
                  fmt::format("domain '{}' is being started already", name));
  if (verdict == Verdict::cancelled) {
    end_incoming(found);
    co_return Finished{};
  }
  Result<CookieBody> body = CookieBody{CookieBody::Kind::performed, 1, 1, 1, in->id, {}};
  const bool old = call.protocol < Protocol::v3;  // Prepare's goes to all later phases
  const auto kind = old ? CookieBody::Kind::prepared : CookieBody::Kind::performed;
  if (!cookie.empty()) body = decode_cookie(cookie, kind);
  if (in->reception && !in->offline) {  // the last of the data may still be on its way
    co_await in->reception->arrived();
    if (found->in != in) throw refusal(ErrorId::remote, 9, "the incoming guest is gone");
  }
  const bool ours = body && body->id == in->id && (resumed || !host_.record.contains(in->id));
  if (!ours || (!in->offline && !in->loaded && !in->postcopy)) {
    const std::string why = in->trouble;
    end_incoming(found);
    throw refusal(ErrorId::remote, 9,
                  !ours ? "not the cookie of this guest"
                        : "the guest did not arrive" + (why.empty() ? "" : ": " + why));
  }
  in->finishing = true;
  co_await work();
  if (in->gone || found->in != in)
    throw refusal(ErrorId::remote, 9, "the incoming guest was ended meanwhile");
  if (!resumed && host_.record.contains(in->id)) {
    end_incoming(found);
    throw refusal(ErrorId::remote, 9, "this migration was given up meanwhile");
  }
  const Result<> kept = persist(*found, call, body->text);
  if (!kept) {
    end_incoming(found);
    throw Error(kept.error());
  }
  if (host_.spec.record) host_.record[in->id] = true;
  world_->unlisten(in->uri);
  world_->unlisten(in->disks_uri);
  Task<> starting = start_guest(found, call);
  co_await std::move(starting);
  found->in.reset();
  Finished done;
  done.domain = found->ref();
  done.cookie = encode({CookieBody::Kind::finished, 1, 1, body->chosen, in->id, {}});
  co_return done;
}

Task<std::optional<bool>> TestHost::ever_started(const DomainRef& domain, const Cookie& begun) {
  check_open();
  const auto body = decode_cookie(begun, CookieBody::Kind::begun);
  if (!host_.spec.record || !body) co_return std::nullopt;
  const auto at = host_.guests.find(domain.uuid);
  const bool waits = at != host_.guests.end() && at->second->in && at->second->in->id == body->id;
  // The source has given its CPUs away: this guest must not be ended, it waits to be started.
  if (waits && at->second->in->postcopy && !host_.record.contains(body->id)) co_return std::nullopt;
  const auto [entry, fresh] = host_.record.try_emplace(body->id, false);
  const bool started = entry->second;
  if (!started && waits) end_incoming(std::shared_ptr(at->second));
  co_return started;
}

}  // namespace vmferry::sim
