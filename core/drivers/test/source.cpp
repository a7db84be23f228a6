// The source's phases: begin, perform, confirm.
#include <fmt/format.h>

#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

void TestHost::check_rules(const PhaseCall& call, bool active) const {
  if (!host_.rules->cannot.empty())
    throw refusal(ErrorId::unsupported, 3, std::string(host_.rules->cannot));
  const auto objections = check_literal(*host_.rules, call.flags, call.params, active, 0);
  if (objections.empty()) return;
  const std::int32_t code = objections.front().code;
  Error error = refusal(ErrorId::remote, code == 0 ? 9 : code, objections.front().reason);
  for (std::size_t i = 1; i < objections.size(); ++i) error.note(objections[i].reason);
  throw error;
}

void TestHost::check_source(const Guest& guest, const PhaseCall& call) const {
  const bool copies = call.flags.has(Flag::non_shared_disk) || call.flags.has(Flag::non_shared_inc);
  if (!guest.active() || copies || call.flags.has(Flag::unsafe) || call.flags.has(Flag::offline))
    return;
  for (const GuestDisk& disk : guest.spec.disks)
    if (!disk.readonly && !disk.cache.empty() && disk.cache != "none" && disk.cache != "directsync")
      throw refusal(ErrorId::remote, 81,
                    fmt::format("Unsafe migration: Migration may lead to data corruption if disks "
                                "use cache other than none or directsync ({} has {})",
                                disk.target, disk.cache));
}

std::shared_ptr<OutJob> TestHost::take_job(Guest& guest, const PhaseCall& call) {
  if (guest.out && guest.out->owner == connection_ && guest.out->phase == JobPhase::begun)
    return guest.out;
  check_no_job(guest);
  auto job = std::make_shared<OutJob>();
  job->id = world_->new_id();
  job->owner = connection_;
  job->held = call.flags.has(Flag::change_protection);
  guest.out = job;
  return job;
}

void TestHost::take_for_peer(const PhaseCall& call) {
  const auto found = guest(call.domain);
  if (found->active()) take_job(*found, call)->driven = true;
}

Task<Begun> TestHost::begin(const PhaseCall& call) {
  const auto found = guest(call.domain);
  const bool ours = found->out && found->out->driven && found->out->owner == connection_;
  if (!ours) check_no_job(*found);
  if (ours) found->out->driven = false;
  check_rules(call, found->active());
  const bool resumes = call.flags.has(Flag::postcopy_resume);
  if (resumes && (!found->active() || found->status.reason != kPausedPostcopyFailed))
    throw refusal(ErrorId::invalid_state, 55, "no post-copy migration of this guest has failed");
  if (found->status.state == DomainState::paused && !host_.rules->paused.empty())
    throw refusal(ErrorId::remote, 1, std::string(host_.rules->paused));
  check_source(*found, call);
  Begun begun;
  begun.xml = print_guest(found->spec, found->name, -1);
  if (const auto* given = call.params.get<std::string>("destination_xml")) {
    const GuestSpec spec = value_or_throw(parse_guest(*given, world_->seed()));
    if (spec.uuid != found->spec.uuid || spec.memory_kib != found->spec.memory_kib)
      throw refusal(ErrorId::xml, 67, "the target XML changes the guest's UUID or memory");
    begun.xml = *given;
  }
  CookieBody cookie{
      CookieBody::Kind::begun, host_.spec.lowest, host_.spec.highest, 0, world_->new_id(), {}};
  if (!found->active()) cookie.text = kStoppedGuest;
  if (found->active() && !call.flags.has(Flag::offline) && call.flags.has(Flag::change_protection))
    take_job(*found, call)->id = cookie.id;
  begun.cookie = encode(cookie);
  co_return begun;
}

// The guest goes on where it was, unless somebody else has decided meanwhile.
void TestHost::give_up(Guest& guest, const std::shared_ptr<OutJob>& job) {
  if (guest.out != job) return;
  guest.out.reset();
  guest.throttle = 0;
  if (guest.status.paused_by_migration() && job->was_running)
    world_->run(host_, guest, kRunningMigrationCanceled, kResumedMigrated);
}

// A guest that is shut off has nothing to send; that the destination is there is enough.
Task<Cookie> TestHost::perform_stopped(const PhaseCall& call, const CookieBody& prepared) {
  const auto* uri = call.params.get<std::string>("migrate_uri");
  const auto [host, incoming] =
      uri ? world_->listener(*uri) : std::pair<HostState*, std::shared_ptr<Guest>>();
  if (!incoming || !incoming->in || !world_->link().up)
    throw refusal(
        ErrorId::remote, 9,
        fmt::format("unable to connect to {}: connection refused", uri ? *uri : "nowhere"));
  incoming->in->loaded = true;
  const Micros way = 2 * world_->link().latency;
  co_await world_->clock().sleep(way);
  co_return encode({CookieBody::Kind::performed, 1, 1, prepared.chosen, prepared.id, {}});
}

Task<Cookie> TestHost::perform(const PhaseCall& call, const Cookie& cookie,
                               std::optional<std::string> dconnuri) {
  if (dconnuri) {
    check_open();
    Task<> driven = perform_p2p(call, *dconnuri);
    co_await std::move(driven);
    co_return Cookie{};
  }
  Task<Cookie> performed = perform_here(call, cookie, nullptr);
  co_return co_await std::move(performed);
}

Task<Cookie> TestHost::perform_here(const PhaseCall& call, const Cookie& cookie,
                                    std::unique_ptr<Stream> tunnel) {
  const bool any_state = host_.rules->habits.moves_stopped;
  const auto found = any_state ? guest(call.domain) : active_guest(call.domain);
  CookieBody prepared{CookieBody::Kind::prepared, 1, 1, 1, {}, {}};
  if (!cookie.empty()) prepared = value_or_throw(decode_cookie(cookie, CookieBody::Kind::prepared));
  if (prepared.chosen < host_.spec.lowest || prepared.chosen > host_.spec.highest)
    throw refusal(ErrorId::unsupported, 84, "the destination chose a version that is not ours");
  if (!found->active()) {
    Task<Cookie> handing = perform_stopped(call, prepared);
    co_return co_await std::move(handing);
  }
  const auto job = take_job(*found, call);
  if (!cookie.empty()) job->id = prepared.id;
  job->phase = JobPhase::performing;
  job->was_running = found->status.runs();
  job->postcopy_allowed = call.flags.has(Flag::postcopy);
  Task<> copying =
      call.flags.has(Flag::postcopy_resume)
          ? take_up_postcopy(*world_, found, job, call)
          : copy_guest(*world_, host_, found, job, call, prepared.chosen, std::move(tunnel));
  const auto copied = co_await settle(std::move(copying));
  if (!copied && job->postcopy) found->out.reset();
  if (!copied) {
    give_up(*found, job);
    throw Error(copied.error());
  }
  job->phase = JobPhase::performed;
  if (lost()) {  // who began it is gone: libvirt forgets the job and leaves the guest as it is
    if (found->out == job) World::drop_job(*found);
    throw Error(ErrorId::connect_lost, "the simulated daemon closed the connection");
  }
  CookieBody performed{CookieBody::Kind::performed, 1, 1, prepared.chosen, job->id, {}};
  if (found->persistent && call.flags.has(Flag::persist_dest)) {
    const auto* given = call.params.get<std::string>("persistent_xml");
    performed.text = given ? *given : print_guest(found->spec, found->name, -1);
    if (performed.text.size() > kCookieText) performed.text.clear();
  }
  if (call.protocol < Protocol::v3) end_source(found, call);
  co_return encode(performed);
}

bool TestHost::removes(const PhaseCall& call) const {
  return call.flags.has(Flag::undefine_source) || host_.rules->habits.removes_source;
}

void TestHost::end_source(const std::shared_ptr<Guest>& guest, const PhaseCall& call) {
  const auto job = guest->out;
  if (job) {
    if (job->figures.stopped == Micros::zero()) job->figures.stopped = world_->now();
    job->figures.ended = world_->now();
  }
  if (removes(call) && guest->persistent) {
    guest->persistent = false;
    world_->emit_lifecycle(host_, *guest, kEventUndefined, 0);
  }
  const DomainRef was = guest->ref();
  world_->stop(host_, *guest, kShutoffMigrated, kStoppedMigrated);
  if (!job) return;
  DomainEvent told;
  told.kind = DomainEvent::Kind::job_completed;
  told.domain = was;
  told.stats =
      figures_to_stats(job->figures, JobType::completed, world_->now(), host_.spec.statistics);
  guest->completed = told.stats;
  world_->emit(host_, told);
}

Task<> TestHost::confirm(const PhaseCall& call, const Cookie&, Verdict verdict) {
  const auto found = guest(call.domain);
  const bool stopped = !found->active() && host_.rules->habits.moves_stopped;
  if (stopped || call.flags.has(Flag::offline)) {
    const bool ends = verdict == Verdict::completed && removes(call);
    if (ends && found->persistent) {
      found->persistent = false;
      world_->emit_lifecycle(host_, *found, kEventUndefined, 0);
      world_->forget(host_, *found);
    }
    co_return;
  }
  const auto job = found->out;
  if (!job || job->phase == JobPhase::performing)
    throw refusal(ErrorId::invalid_state, 55,
                  fmt::format("domain '{}' is not processing outgoing migration", found->name));
  if (verdict == Verdict::completed) {
    if (job->phase != JobPhase::performed)
      throw refusal(ErrorId::invalid_state, 55, "the guest has not been copied");
    // Post-copy is over when the destination has everything, whoever believes otherwise.
    if (job->postcopy && !job->fed)
      throw refusal(ErrorId::invalid_state, 55, "the destination still needs the guest's memory");
    end_source(found, call);
  } else if (job->postcopy) {
    found->out.reset();
    found->status.reason = kPausedPostcopyFailed;
    world_->emit_lifecycle(host_, *found, kEventSuspended, kSuspendedPostcopyFailed);
  } else {
    give_up(*found, job);
  }
}

}  // namespace vmferry::sim
