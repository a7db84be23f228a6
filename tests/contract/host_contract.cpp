#include "tests/contract/host_contract.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <asio/co_spawn.hpp>

namespace vmferry::contract {

namespace {

using namespace std::chrono_literals;

// The phases by hand, as a managed migration makes them.
struct Phases {
  Host& from;
  Host& to;
  PhaseCall source, destination;
  Begun begun;
  Prepared prepared;
  Cookie performed;
  Finished finished;
};

Task<> begin_and_prepare(Phases& p, DomainRef vm, FlagSet flags) {
  const HostFeatures can = co_await p.from.features();
  if (can.change_protection) flags.add(Flag::change_protection);
  p.source = {Protocol::v3_params, vm, {}, flags};
  p.begun = co_await p.from.begin(p.source);
  p.destination = p.source;
  p.destination.flags = flags.without(Flag::change_protection);
  p.destination.params.set("destination_xml", p.begun.xml);
  p.destination.params.set("destination_name", vm.name);
  p.prepared = co_await p.to.prepare(p.destination, p.begun.cookie);
  if (!p.prepared.uri) co_return;
  p.source.params.set("migrate_uri", *p.prepared.uri);
  p.destination.params.set("migrate_uri", *p.prepared.uri);
}

Task<> perform(Phases& p) {
  Task<Cookie> copying = p.from.perform(p.source, p.prepared.cookie, std::nullopt);
  p.performed = co_await std::move(copying);
}

Task<> all(Phases& p, DomainRef vm, FlagSet flags) {
  Task<> first = begin_and_prepare(p, std::move(vm), flags);
  co_await std::move(first);
  Task<> copying = perform(p);
  co_await std::move(copying);
  p.destination.params.remove("destination_xml");
  p.finished = co_await p.to.finish(p.destination, p.performed, Verdict::completed);
  co_await p.from.confirm(p.source, p.finished.cookie, Verdict::completed);
}

DomainState state(const Ends& e, Host& host) { return e.get(host.status(e.vm)).state; }

void check_code(const Ends& e, const Error& error, std::int32_t code) {
  CHECK(error.wire.code == (e.coded ? code : 0));
}

void check_absent(const Ends& e, Host& host) {
  const auto status = e.settled(host.status(e.vm));
  CHECK((!status || !status->active()));
}

}  // namespace

void check_lookup(const Ends& e) {
  CHECK(e.get(e.a->find(e.vm.name)).uuid == e.vm.uuid);
  CHECK(e.get(e.a->find(to_string(e.vm.uuid))).name == e.vm.name);
  CHECK(e.get(e.a->find(std::to_string(e.vm.id))).name == e.vm.name);
  const auto none = e.settled(e.a->find("nosuch"));
  REQUIRE_FALSE(none);
  CHECK(none.error().id == ErrorId::no_domain);
  check_code(e, none.error(), 42);
  const auto listed = [&](bool active, bool inactive) {
    const auto there = e.get(e.a->list(active, inactive));
    return std::ranges::any_of(there, [&](const auto& d) { return d.domain.uuid == e.vm.uuid; });
  };
  CHECK(listed(true, false));
  CHECK(listed(true, true));
  CHECK_FALSE(listed(false, true));
}

void check_identity(const Ends& e) {
  const HostIdentity id = e.get(e.a->identity());
  CHECK_FALSE(id.driver.empty());
  CHECK_FALSE(id.hostname.empty());
  CHECK(id.library_version > 1'000'000);
  CHECK(e.get(e.a->node_info()).cpus > 0);
  CHECK(e.get(e.a->free_memory()) > 0);
  CHECK(e.get(e.a->capabilities()).find("<capabilities") != std::string::npos);
  const HostFeatures features = e.get(e.a->features());
  CHECK(features.v3_params);
  CHECK(features.p2p);
  CHECK(features.events);
}

void check_life_cycle(const Ends& e) {
  CHECK(state(e, *e.a) == DomainState::running);
  e.run(e.a->suspend(e.vm));
  CHECK(state(e, *e.a) == DomainState::paused);
  e.run(e.a->resume(e.vm));
  CHECK(state(e, *e.a) == DomainState::running);
  CHECK(e.get(e.a->info(e.vm)).vcpus == 1);
  CHECK(e.get(e.a->is_persistent(e.vm)));
  CHECK(e.get(e.a->dump_xml(e.vm, 0)).find("<name>" + e.vm.name + "</name>") != std::string::npos);
  e.run(e.a->set_max_downtime(e.vm, 700));
  CHECK(e.get(e.a->max_downtime(e.vm)) == 700);
  CHECK(e.get(e.a->job_stats(e.vm, false, false)).type == JobType::none);
}

void check_definitions(const Ends& e, const std::string& xml) {
  const DomainRef made = e.get(e.a->define(xml, DefineFlags::none));
  CHECK(made.name == "fresh");
  CHECK(made.id == -1);
  CHECK(e.get(e.a->status(made)).state == DomainState::shutoff);
  CHECK_FALSE(e.get(e.a->autostart(made)));
  e.run(e.a->set_autostart(made, true));
  CHECK(e.get(e.a->autostart(made)));
  e.run(e.a->set_autostart(made, false));
  e.run(e.a->start(made, 1));
  CHECK(e.get(e.a->status(made)).state == DomainState::paused);
  e.run(e.a->undefine(made, 0));
  CHECK_FALSE(e.get(e.a->is_persistent(made)));
  e.run(e.a->destroy(made, 0));
  CHECK_FALSE(e.settled(e.a->status(made)));
}

void check_events(const Ends& e) {
  std::vector<DomainEvent> seen;
  auto subscription =
      e.get(e.a->subscribe(e.vm, [&](const DomainEvent& event) { seen.push_back(event); }));
  e.run(e.a->suspend(e.vm));
  e.run(e.a->resume(e.vm));
  e.pass(500ms);
  const auto told = [&](std::int32_t event) {
    return std::ranges::any_of(seen, [&](const DomainEvent& x) {
      return x.kind == DomainEvent::Kind::lifecycle && x.event == event &&
             x.domain.uuid == e.vm.uuid;
    });
  };
  CHECK(told(kEventSuspended));
  CHECK(told(kEventResumed));
  subscription.reset();
  e.pass(500ms);
  seen.clear();
  e.run(e.a->suspend(e.vm));
  e.run(e.a->resume(e.vm));
  e.pass(500ms);
  CHECK(seen.empty());
}

void check_refusals(const Ends& e) {
  const auto again = e.settled(e.a->start(e.vm, 0));
  REQUIRE_FALSE(again);
  CHECK(again.error().id == ErrorId::invalid_state);
  check_code(e, again.error(), 55);
  const auto nothing = e.settled(e.a->define("<domain", DefineFlags::none));
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().id == ErrorId::xml);
  DomainRef stranger = e.vm;
  stranger.uuid.bytes[3] ^= std::byte{0xff};
  stranger.name = "stranger";
  const auto absent = e.settled(e.a->status(stranger));
  REQUIRE_FALSE(absent);
  CHECK(absent.error().id == ErrorId::no_domain);
  const PhaseCall call{Protocol::v3_params, stranger, {}, e.live};
  CHECK_FALSE(e.settled(e.a->begin(call)));
}

void check_rubbish(const Ends& e) {
  const Cookie rubbish(64, std::byte{'x'});
  const PhaseCall prepare{Protocol::v3_params, e.vm, {}, e.live};
  CHECK_FALSE(e.settled(e.b->prepare(prepare, rubbish)));
  check_absent(e, *e.b);
}

void check_migration(const Ends& e) {
  Phases there{*e.a, *e.b, {}, {}, {}, {}, {}, {}};
  e.run(all(there, e.vm, e.live.with(Flag::persist_dest).with(Flag::undefine_source)));
  REQUIRE(there.finished.domain);
  CHECK(there.finished.domain->uuid == e.vm.uuid);
  check_absent(e, *e.a);
  CHECK(e.get(e.b->status(e.vm)) == DomainStatus{DomainState::running, kRunningMigrated});
  Phases back{*e.b, *e.a, {}, {}, {}, {}, {}, {}};
  const DomainRef vm = e.get(e.b->find(e.vm.name));
  e.run(all(back, vm, e.live.with(Flag::persist_dest).with(Flag::undefine_source)));
  check_absent(e, *e.b);
  CHECK(state(e, *e.a) == DomainState::running);
  CHECK(e.get(e.a->is_persistent(e.vm)));
}

void check_cancelled_finish(const Ends& e) {
  Phases p{*e.a, *e.b, {}, {}, {}, {}, {}, {}};
  const DomainRef vm = e.get(e.a->find(e.vm.name));
  e.run(begin_and_prepare(p, vm, e.live));
  CHECK(e.get(e.b->status(e.vm)).state == DomainState::paused);
  p.destination.params.remove("destination_xml");
  const auto finished = e.settled(e.b->finish(p.destination, {}, Verdict::cancelled));
  const bool clean = finished ? !finished->domain : finished.error().wire.code == 93;
  CHECK(clean);
  const Cookie none;
  e.run(e.a->confirm(p.source, none, Verdict::cancelled));
  check_absent(e, *e.b);
  CHECK(state(e, *e.a) == DomainState::running);
}

void check_abort(const Ends& e) {
  Phases p{*e.a, *e.b, {}, {}, {}, {}, {}, {}};
  const DomainRef vm = e.get(e.a->find(e.vm.name));
  e.run(e.a->set_max_speed(vm, 1, false));
  e.run(begin_and_prepare(p, vm, e.live));
  std::optional<Result<>> performed;
  const auto abort_it = [](const Ends& ends, Phases& phases, std::optional<Result<>>& into,
                           DomainRef domain) -> Task<> {
    const auto ex = co_await asio::this_coro::executor;
    asio::co_spawn(ex, settle(perform(phases)),
                   [&into](const std::exception_ptr&, Result<> r) { into = std::move(r); });
    for (int i = 0; i < 500; ++i) {  // until it copies
      co_await ends.clock->sleep(20ms);
      const JobStats stats = co_await ends.a->job_stats(domain, false, false);
      if (stats.number("memory_processed") > 0) break;
    }
    co_await ends.a->abort_job(domain, false);
  };
  e.run(abort_it(e, p, performed, vm));
  for (int i = 0; i < 50 && !performed; ++i) e.pass(100ms);
  REQUIRE(performed);
  REQUIRE_FALSE(*performed);
  CHECK(performed->error().id == ErrorId::cancelled);
  check_code(e, performed->error(), 78);
  p.destination.params.remove("destination_xml");
  (void)e.settled(e.b->finish(p.destination, {}, Verdict::cancelled));
  const Cookie none;
  (void)e.settled(e.a->confirm(p.source, none, Verdict::cancelled));
  check_absent(e, *e.b);
  CHECK(state(e, *e.a) == DomainState::running);
  e.run(e.a->set_max_speed(vm, 1000, false));
}

}  // namespace vmferry::contract
