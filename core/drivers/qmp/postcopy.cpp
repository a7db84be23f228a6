// Post-copy: the guest runs on the destination while the rest of its memory is still on its way.
// There is no way back from it. A connection that breaks stops both QEMUs where they are
// ("postcopy-paused"), and --postcopy-resume goes on from there.
#include <fmt/format.h>
#include <unistd.h>

#include "core/async/race.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

constexpr Micros kAllSent = std::chrono::seconds(30);  ///< from the destination's end to ours

bool settled(const Event& e) {
  const std::string status = e.name == "MIGRATION" ? text_at(e.data, "status") : "";
  return status == "completed" || status == "failed" || status == "postcopy-paused";
}

// Waits while memory is coming; as long as the network and the guest's size make it.
Task<std::string> end_of_postcopy(Client& client) {
  Cursor cursor = client.cursor();
  Task<std::string> asking = migration_status(client);
  std::string status = co_await std::move(asking);
  while (in_postcopy(status) && status != "postcopy-paused") {
    Task<Event> waiting = client.wait_event(cursor, settled);
    const Event event = co_await std::move(waiting);
    status = text_at(event.data, "status");
  }
  co_return status;
}

}  // namespace

// Marked before QEMU is told: after this nobody may let the source's copy run.
Task<> QmpHost::start_postcopy(const DomainRef& domain) {
  Instance i = active(domain);
  std::shared_ptr<Client> client = co_await monitor(i);
  Task<std::string> asking = migration_status(*client);
  const std::string status = co_await std::move(asking);
  if (status != "active")
    throw Error(ErrorId::invalid_state, "no migration of this domain is copying memory");
  const bool before = i.postcopy;
  i.postcopy = true;
  store_.save(i);
  Task<Json> starting = client->execute("migrate-start-postcopy");
  const auto started = co_await settle(std::move(starting));
  if (started) co_return;
  if (started.error().id == ErrorId::remote) {
    i.postcopy = before;
    store_.save(i);
  }
  throw Error(started.error());
}

Task<> QmpHost::check_broken(const Instance& i) {
  std::shared_ptr<Client> client = co_await monitor(i);
  Task<std::string> asking = migration_status(*client);
  const std::string status = co_await std::move(asking);
  if (status != "postcopy-paused")
    throw Error(ErrorId::invalid_state,
                fmt::format("there is no broken post-copy to go on with (QEMU says: {})", status));
}

Task<Prepared> QmpHost::prepare_resume(const PhaseCall& call, const Offer& offer) {
  std::optional<Instance> i = by_migration(offer.migration);
  if (!i || !i->postcopy)
    throw Error(ErrorId::no_domain, "the guest of this broken post-copy is not here");
  arrivals_.insert_or_assign(i->uuid, Arrival{store_.lock_domain(i->uuid), {}});
  Task<> checking = check_broken(*i);
  co_await std::move(checking);
  std::shared_ptr<Client> client = co_await monitor(*i);
  Task<std::string> listening = listen(*client, call, offer, *i, "migrate-recover");
  Prepared out;
  out.uri = co_await std::move(listening);
  out.cookie = pack(Reply{offer.migration});
  co_return out;
}

// It runs there already.
Task<Finished> QmpHost::finish_resume(const PhaseCall& call, const Cookie& cookie,
                                      Verdict verdict) {
  Finished out;
  if (verdict == Verdict::cancelled) co_return out;
  const Copied copied = value_or_throw(unpack_copied(cookie));
  std::optional<Instance> i = by_migration(copied.migration);
  if (!i) throw Error(ErrorId::no_domain, "the guest of this broken post-copy is not here");
  Task<> coming = all_has_come(*i);
  co_await std::move(coming);
  ::unlink(data_of(i->dir).c_str());
  co_await keep_definition(call, *i);
  completed_[i->uuid] = copied.stats;
  out.domain = ref(*i);
  co_return out;
}

Task<> QmpHost::all_has_come(Instance& i) {
  std::shared_ptr<Client> client = co_await monitor(i);
  Task<std::string> ending = end_of_postcopy(*client);
  const std::string status = co_await std::move(ending);
  if (status != "completed")
    throw Error(ErrorId::data_lost,
                fmt::format("the guest runs here, but the rest of its memory does not come: the "
                            "connection to the source broke ({})",
                            status));
  i.postcopy = false;
  store_.save(i);
}

Task<> QmpHost::all_was_sent(const Instance& i) {
  std::shared_ptr<Client> client = co_await monitor(i);
  Task<std::string> ending = end_of_postcopy(*client);
  const std::string status =
      co_await with_deadline(env_.clock, kAllSent, "the end of the post-copy", std::move(ending));
  if (status != "completed")
    throw Error(ErrorId::data_lost,
                fmt::format("the guest's memory is not all on the destination ({}): the source is "
                            "kept",
                            status));
}

std::optional<Instance> QmpHost::by_migration(const std::string& migration) const {
  for (Instance& i : store_.instances())
    if (i.migration == migration) return std::move(i);
  return std::nullopt;
}

}  // namespace vmferry::qmp
