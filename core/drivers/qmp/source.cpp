// The source's phases: begin, perform, confirm.
#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/graphics.hpp"
#include "core/drivers/qmp/qmp_host.hpp"
#include "core/host/peer_to_peer.hpp"

namespace vmferry::qmp {

std::string text_param(const PhaseCall& call, std::string_view field) {
  const auto* text = call.params.get<std::string>(field);
  return text != nullptr ? *text : std::string();
}

namespace {

// What QEMU itself says against moving this guest.
void check_blockers(const Json& info) {
  if (text_at(info, "status") == "cancelling")
    throw Error(ErrorId::blocked,
                "QEMU has not brought the cancellation of an earlier migration to its end")
        .advise(std::string("QEMU 7.2 may never do so, if --parallel was cancelled. ") +
                kNeverCancelled);
  const Json& reasons = at(info, "blocked-reasons");
  if (!reasons.is_array() || reasons.empty()) return;
  std::vector<std::string> texts;
  for (const Json& reason : reasons)
    if (reason.is_string()) texts.push_back(escaped_lines(reason.get<std::string>()));
  throw Error(ErrorId::blocked, "QEMU says: " + joined(texts, "; "));
}

// Where graphics clients shall go, if it was said.
Task<> check_graphics(Client& client, std::string target) {
  if (target.empty()) co_return;
  spice_target(target);
  const Json own = co_await spice_server(client, "");
  if (own.is_null())
    throw Error(ErrorId::unsupported,
                "QEMU tells clients of spice only where to go, and this guest has none")
        .advise("Leave --graphicsuri out; clients of VNC connect again by themselves.");
}

// The XML that the destination gets, and what must not differ in it.
std::string for_destination(const PhaseCall& call, const std::string& own) {
  const std::string given = text_param(call, "destination_xml");
  if (given.empty()) return own;
  const Definition theirs = value_or_throw(read_definition(given));
  if (theirs.uuid != call.domain.uuid)
    throw Error(ErrorId::config_unsupported, "the XML for the destination has another UUID");
  return given;
}

}  // namespace

Task<Begun> QmpHost::begin(const PhaseCall& call) {
  SourceJob job{store_.lock_domain(call.domain.uuid), to_string(random_uuid()), false};
  Offer offer;
  offer.migration = job.migration;
  Begun begun;
  if (call.flags.has(Flag::offline)) {
    const std::optional<Definition> d = store_.definition(call.domain.uuid);
    if (!d) throw Error(ErrorId::invalid_state, "the domain has no definition that could move");
    begun.xml = for_destination(call, d->xml);
  } else {
    const Instance i = active(call.domain);
    std::shared_ptr<Client> client = co_await monitor(i);
    auto [answers, about] = co_await both(
        both(client->execute("query-migrate"), client->execute("query-status")),
        both(both(known_capabilities(*client), real_machine(*client)), loses_writes(*client)));
    check_blockers(answers.first);
    job.was_running = flag_at(answers.second, "running");
    std::tie(job.known, offer.machine) = std::move(about.first);
    job.loses_writes = about.second;
    // One that runs was not handed over after all: its migration failed with nobody looking.
    const bool goes_on = call.flags.has(Flag::postcopy_resume);
    if (goes_on) {
      Task<> checking = check_broken(i);
      co_await std::move(checking);
      job.migration = offer.migration = i.migration;
      job.resume = true;
    }
    if (!goes_on &&
        (i.stage == Stage::incoming || (i.stage == Stage::handed_over && !job.was_running)))
      throw Error(ErrorId::invalid_state, "this copy of the guest is not one that can be moved");
    if (!i.cannot.empty())
      throw Error(ErrorId::blocked,
                  "another process could not be this guest: " + joined(i.cannot, "; "));
    if (!i.here_only.empty())
      throw Error(ErrorId::blocked,
                  "a process elsewhere could not be this guest: " + joined(i.here_only, "; "))
          .advise("`vmferry upgrade` can still put another QEMU under it.");
    co_await check_graphics(*client, text_param(call, "graphics_uri"));
    capability_list(job.known, call.flags, call.params, false);  // whether it can
    if (copies_disks(call.flags)) {
      Task<> dropping = drop_mirrors(*client);
      co_await std::move(dropping);
      Task<std::vector<DiskToCopy>> choosing = disks_to_copy(*client, i.xml, call.params);
      offer.disks = co_await std::move(choosing);
      job.disks = offer.disks;
    }
    offer.version = client->version_text();
    offer.xml_check = check_of(i.xml);
    offer.argv = i.argv;
    offer.host = host_token();
    offer.pid = i.process.pid;
    offer.start = i.process.start;
    offer.shared_ram = i.shared_ram;
    offer.directory = i.directory;
    offer.pid_file = i.pid_file;
    offer.network = network_token();
    offer.files = files_token(i.process.pid);
    begun.xml = for_destination(call, i.xml);
  }
  begun.cookie = pack(offer);
  jobs_.insert_or_assign(call.domain.uuid, std::move(job));
  co_return begun;
}

Mirrors QmpHost::mirrors_for(const PhaseCall& call, const SourceJob& job, const Reply& reply) {
  Mirrors out;
  if (!copies_disks(call.flags) || reply.disk_server.is_null()) return out;
  out.disks = job.disks;
  out.server = reply.disk_server;
  out.increments = call.flags.has(Flag::non_shared_inc);
  out.synchronous = call.flags.has(Flag::non_shared_synchronous_writes);
  if (const auto* mib = call.params.get<std::uint64_t>("bandwidth"))
    out.bytes_per_second = *mib << 20;
  return out;
}

Task<CopyOutcome> QmpHost::send_guest(Client& client, const CopyPlan& plan, const Instance& i,
                                      std::unique_ptr<Stream> tunnel) {
  const Cursor before = client.cursor();
  const bool ran = jobs_.at(i.uuid).was_running;
  if (jobs_.at(i.uuid).aside) {
    Task<> stepping = step_aside(i, true);
    co_await std::move(stepping);
  }
  Task<CopyOutcome> copying = tunnel ? copy_through(client, plan, env_, std::move(tunnel), i.dir)
                                     : copy_guest(client, env_.clock, plan);
  auto sent = co_await settle(std::move(copying));
  if (sent) co_return *std::move(sent);
  Error why = std::move(sent).error();
  if (why.id != ErrorId::hypervisor_died || plan.resume) throw why;
  co_await shield();
  Task<std::optional<Micros>> asking = ended_standing_still(client, before, i.process, ran);
  const auto stood = co_await settle(std::move(asking));
  if (!stood || !*stood) throw why;
  // It can never run here again. Whether the other side has all of it, that one's QEMU tells.
  notice(why.message + "; the destination runs the guest if it has received all of it");
  co_return CopyOutcome{.stats = {}, .stopped_at = **stood};
}

Task<Cookie> QmpHost::perform(const PhaseCall& call, const Cookie& cookie,
                              std::optional<std::string> dconnuri) {
  if (dconnuri) {
    Task<> driven = perform_p2p(call, *dconnuri);
    co_await std::move(driven);
    co_return Cookie{};
  }
  Task<Cookie> performing = perform_here(call, cookie, nullptr);
  auto performed = co_await settle(std::move(performing));
  if (!performed) jobs_.erase(call.domain.uuid);  // it may have failed before there was a copy
  co_return value_or_throw(std::move(performed));
}

// Another host object, as whoever asked may leave: this one's locks and monitors end with it.
Task<> QmpHost::perform_p2p(PhaseCall call, const std::string& dconnuri) {
  if (!env_.open) throw Error(ErrorId::unsupported, "other hosts cannot be opened from here");
  QmpHost here(uri_, store_, env_);
  call.flags.add(Flag::change_protection);
  const Driving driving{.clock = env_.clock,
                        .here = here,
                        .open = env_.open,
                        .perform = [&here](const PhaseCall& near, const Cookie& cookie,
                                           std::unique_ptr<Stream> tunnel) {
                          return here.perform_here(near, cookie, std::move(tunnel));
                        }};
  Task<> moving = drive_peer(driving, std::move(call), dconnuri);
  co_await std::move(moving);
}

CopyPlan QmpHost::plan_copy(const PhaseCall& call, const SourceJob& job, const Reply& reply,
                            const Instance& i) {
  CopyPlan plan;
  plan.source = i.process;
  plan.uri = text_param(call, "migrate_uri");
  if (plan.uri.starts_with("tcp://")) plan.uri.erase(4, 2);
  if (plan.uri.starts_with("unix://")) plan.uri.erase(5, 2);
  plan.abort_on_error = call.flags.has(Flag::abort_on_error);
  plan.parameters = parameter_list(call.flags, call.params, true);
  if (i.speed != 0 && !call.params.has("bandwidth")) plan.parameters["max-bandwidth"] = i.speed;
  if (i.downtime != 0) plan.parameters["downtime-limit"] = i.downtime;
  plan.mirrors = mirrors_for(call, job, reply);
  plan.resume = job.resume;
  return plan;
}

Task<Cookie> QmpHost::perform_here(const PhaseCall& call, const Cookie& cookie,
                                   std::unique_ptr<Stream> tunnel) {
  const auto found = jobs_.find(call.domain.uuid);
  if (found == jobs_.end()) throw Error(ErrorId::invalid_state, "Perform without Begin");
  const bool was_running = found->second.was_running;
  const Reply reply = value_or_throw(unpack_reply(cookie));
  if (reply.migration != found->second.migration)
    throw Error(ErrorId::protocol, "the destination's cookie is of another migration");

  Instance i = active(call.domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  CopyPlan plan = plan_copy(call, found->second, reply, i);
  const SourceJob& job = found->second;
  plan.capabilities = capability_list(job.known, call.flags, call.params, reply.hand_over);
  const bool lossy = was_running && !reply.whole && !job.resume && job.loses_writes;
  if (lossy)
    notice(
        fmt::format("the guest is paused while its memory is copied: QEMU {} without KVM would "
                    "lose what it writes meanwhile",
                    client->version_text()));
  plan.hand_over = reply.whole;
  plan.stop_first = was_running && !plan.resume && (lossy || !call.flags.has(Flag::live));
  Task<> flushing = flush_images(*client);
  co_await std::move(flushing);
  i.held = true;
  i.migration = reply.migration;
  i.went_to = {reply.run, reply.state};
  // Marked before, not after: nobody who finds it stopped later may let it run without evidence.
  if (reply.hand_over) i.stage = Stage::handed_over;
  store_.save(i);
  found->second.aside = reply.beside;
  Task<> telling = redirect_clients(*client, call, reply, found->second);
  co_await std::move(telling);
  Task<CopyOutcome> copying = send_guest(*client, plan, i, std::move(tunnel));
  auto copied = co_await settle(std::move(copying));
  if (copied)
    co_return pack(Copied{reply.migration, copied->stats, copied->postcopy,
                          copied->stopped_at.count(), host_token()});

  co_await shield();
  Error failure = std::move(copied).error();
  if (failure.id == ErrorId::migrate_failed && was_aborted(i))
    failure = Error(ErrorId::cancelled, "the migration was cancelled");
  Task<> releasing = release(call.domain);
  const auto released = co_await settle(std::move(releasing));
  if (!released && failure.id != ErrorId::hypervisor_died)
    failure.note(
        fmt::format("the source's guest could not be resumed: {}", released.error().message));
  throw failure;
}

// What the user asked for must work; what we do by ourselves need not stop the guest's move.
Task<> QmpHost::redirect_clients(Client& client, const PhaseCall& call, const Reply& reply,
                                 SourceJob& job) {
  const std::string asked = text_param(call, "graphics_uri");
  Json target = reply.graphics;
  if (!asked.empty()) target = spice_target(asked);
  if (!target.is_object()) co_return;
  const Cursor before = client.cursor();
  const auto told = co_await settle(tell_clients(client, std::move(target)));
  if (told && *told) job.told = before;
  if (told) co_return;
  if (!asked.empty()) throw Error(told.error());
  notice("graphics clients were not told where the guest goes: " + told.error().message);
}

// The destination surely never ran the guest: it goes on here as before.
Task<> QmpHost::release(const DomainRef& domain) {
  const auto job = jobs_.find(domain.uuid);
  const bool was_running = job != jobs_.end() && job->second.was_running;
  const bool aside = job != jobs_.end() && job->second.aside;
  if (job != jobs_.end()) jobs_.erase(job);
  std::optional<Instance> i = instance(domain.uuid);
  if (!i) co_return;
  if (i->postcopy) {
    std::shared_ptr<Client> there = co_await monitor(*i);
    Task<std::string> asking = migration_status(*there);
    const std::string status = co_await std::move(asking);
    // It runs on the other host, and what it lacks there is here.
    if (in_postcopy(status) || status == "completed") co_return;
    i->postcopy = false;
  }
  if (aside) co_await settle(step_aside(*i, false));
  if (was_running) {
    std::shared_ptr<Client> client = co_await monitor(*i);
    Task<> running = run_again(*client, env_.clock);
    co_await std::move(running);
  }
  i->held = false;
  i->stage = Stage::active;
  i->migration.clear();
  store_.save(*i);
}

// Its VNC port is given up for the other process, or taken back.
Task<> QmpHost::step_aside(const Instance& i, bool aside) {
  const SideBySide beside = side_by_side(i.argv, "", i.dir + "/vnc");
  if (beside.vnc_port.empty()) co_return;
  Afterwards move =
      aside ? vnc_at_socket(i.dir + "/vnc") : vnc_at(beside.vnc_host, beside.vnc_port);
  std::shared_ptr<Client> client = co_await monitor(i);
  co_await client->execute(move.command, std::move(move.arguments));
}

Task<> QmpHost::confirm(const PhaseCall& call, const Cookie&, Verdict verdict) {
  if (verdict == Verdict::cancelled) {
    co_await release(call.domain);
    co_return;
  }
  const std::optional<Instance> i = instance(call.domain.uuid);
  if (i && i->postcopy) {
    Task<> waiting = all_was_sent(*i);
    co_await std::move(waiting);
  }
  const auto job = jobs_.find(call.domain.uuid);
  if (i && job != jobs_.end() && job->second.told) {
    std::shared_ptr<Client> client = co_await monitor(*i);
    co_await clients_left(*client, env_.clock, *job->second.told);
  }
  if (i && !call.flags.has(Flag::offline)) {
    // Asked to quit, it would unlink sockets that the other process may have under the same name;
    // its disks were flushed when it stopped.
    co_await end(*i);
  }
  if (call.flags.has(Flag::undefine_source)) store_.forget(call.domain.uuid);
  jobs_.erase(call.domain.uuid);
}

}  // namespace vmferry::qmp
