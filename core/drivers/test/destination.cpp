// The destination's phases: prepare, finish.
#include <fmt/format.h>

#include "core/base/uri.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {
std::string incoming_name(const PhaseCall& call, const std::string& otherwise) {
  const auto* given = call.params.get<std::string>("destination_name");
  return given && !given->empty() ? *given : otherwise;
}
}  // namespace

// Where data for this guest will be taken: as asked, else tcp at this host's name.
std::string TestHost::listen_for(const PhaseCall& call, const std::shared_ptr<Guest>& guest) {
  const auto* address = call.params.get<std::string>("listen_address");
  std::string scheme = call.flags.has(Flag::tunnelled) ? "tunnel" : "tcp";
  std::string host = address ? *address : host_.spec.name;
  std::uint16_t port = 0;
  if (const auto* given = call.params.get<std::string>("migrate_uri"); given && !given->empty()) {
    const std::string whole = complete_uri(*host_.rules, *given);
    const MigrateUri uri = value_or_throw(parse_migrate_uri(whole));
    const auto objections = check_uri(*host_.rules, whole);
    if (!objections.empty())
      throw refusal(ErrorId::remote, objections.front().code, objections.front().reason);
    if (uri.uri.scheme == "unix") {
      scheme = "unix";
      host = uri.uri.path;
      return world_->listen(host_, guest, scheme, host, 1);
    }
    scheme = uri.uri.scheme;
    if (!uri.uri.host.empty()) host = uri.uri.host;
    port = uri.uri.port;
  }
  return world_->listen(host_, guest, scheme, host, port);
}

std::shared_ptr<Guest> TestHost::make_incoming(const PhaseCall& call,
                                               std::shared_ptr<Incoming> in) {
  const auto* xml = call.params.get<std::string>("destination_xml");
  if (!xml) throw refusal(ErrorId::unsupported, 3, "a guest can only be prepared from its XML");
  GuestSpec spec = value_or_throw(parse_guest(*xml, world_->seed()));
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
  made->name = name;
  made->in = std::move(in);
  host_.guests.insert_or_assign(made->spec.uuid, made);
  return made;
}

Task<Prepared> TestHost::prepare(const PhaseCall& call, const Cookie& cookie) {
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
  Prepared prepared;
  if (!offline) {
    made->id = host_.next_id++;
    made->memory = Memory::empty(made->spec.shape);
    made->ran_until = world_->now();
    made->writes_due = 0;
    made->status = {DomainState::paused, kPausedMigration};
    auto listening = [&]() -> Result<std::string> {
      try {
        return listen_for(call, made);
      } catch (const Error& e) {
        return std::unexpected(e);
      }
    }();
    if (!listening) {
      end_incoming(made);
      throw Error(listening.error());
    }
    in->uri = *listening;
    world_->emit_lifecycle(host_, *made, kEventStarted, kStartedMigrated);
    prepared.uri = in->uri;
  } else if (host_.rules->habits.moves_stopped) {
    prepared.uri = in->uri = listen_for(call, made);
  }
  prepared.cookie = encode(
      {CookieBody::Kind::prepared, host_.spec.lowest, host_.spec.highest, *agreed, in->id, {}});
  co_return prepared;
}

void TestHost::end_incoming(const std::shared_ptr<Guest>& guest) {
  const auto in = guest->in;
  if (guest->active()) {
    world_->stop(host_, *guest, kShutoffFailed, kStoppedFailed);
  } else {
    if (in) world_->unlisten(in->uri);
    guest->in.reset();
    world_->forget(host_, *guest);
  }
  if (in && in->before) guest->spec = *in->before;
}

void TestHost::persist(Guest& guest, const PhaseCall& call, const std::string& xml) {
  const bool keeps = guest.in->offline || host_.rules->habits.keeps_there;
  if (!call.flags.has(Flag::persist_dest) && !keeps) return;
  const auto* given = call.params.get<std::string>("persistent_xml");
  const std::string text = given ? *given : xml;
  const bool fresh = !std::exchange(guest.persistent, true);
  if (!text.empty()) guest.spec.xml = value_or_throw(parse_guest(text, world_->seed())).xml;
  world_->emit_lifecycle(host_, guest, kEventDefined, fresh ? 0 : 1);
}

Task<> TestHost::run_postcopy(std::shared_ptr<Guest> guest) {
  world_->run(host_, *guest, kRunningPostcopy, kResumedPostcopy);
  const auto fed = co_await settle(feed_postcopy(*world_, guest));
  if (!guest->active()) throw refusal(ErrorId::remote, 9, "the incoming guest died");
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
  if (verdict == Verdict::cancelled) {
    end_incoming(found);
    co_return Finished{};
  }
  Result<CookieBody> body = CookieBody{CookieBody::Kind::performed, 1, 1, 1, in->id, {}};
  if (!cookie.empty()) body = decode_cookie(cookie, CookieBody::Kind::performed);
  const bool ours = body && body->id == in->id && !host_.record.contains(in->id);
  if (!ours || (!in->offline && !in->loaded && !in->postcopy)) {
    end_incoming(found);
    throw refusal(ErrorId::remote, 9,
                  ours ? "the guest did not arrive" : "not the cookie of this guest");
  }
  persist(*found, call, body->text);
  if (host_.spec.record) host_.record[in->id] = true;
  world_->unlisten(in->uri);
  if (in->postcopy) {
    Task<> running = run_postcopy(found);
    co_await std::move(running);
  } else if (!in->offline) {
    if (call.flags.has(Flag::paused)) {
      found->status.reason = kPausedUser;
      world_->emit_lifecycle(host_, *found, kEventSuspended, 0);
    } else {
      world_->run(host_, *found, kRunningMigrated, kResumedMigrated);
    }
  }
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
  const auto [entry, fresh] = host_.record.try_emplace(body->id, false);
  const bool started = entry->second;
  const auto at = host_.guests.find(domain.uuid);
  if (!started && at != host_.guests.end() && at->second->in && at->second->in->id == body->id)
    end_incoming(std::shared_ptr(at->second));
  co_return started;
}

}  // namespace vmferry::sim
