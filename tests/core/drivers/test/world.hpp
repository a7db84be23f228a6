#pragma once
// A small simulated world for tests: two hosts and a guest, under virtual time.
#include <fmt/format.h>

#include <string>

#include "core/async/sim_clock.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

inline std::string guest_xml(std::string_view name, int dirty_rate = 50, int page_size = 64,
                             std::string_view cache = "none") {
  return fmt::format(
      "<domain type='test'><name>{}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
      "<metadata><sim:guest xmlns:sim='urn:vmferry:sim' pages='256' page-size='{}' hot='64' "
      "dirty-rate='{}' disk-size='104857600'/></metadata>"
      "<devices><disk type='file' device='disk'><driver name='qemu' type='raw' cache='{}'/>"
      "<source file='/shared/{}'/><target dev='vda'/></disk></devices></domain>",
      name, page_size, dirty_rate, cache, name);
}

struct SmallWorld {
  asio::io_context io{1};
  SimClock clock{io};
  std::shared_ptr<World> world;
  std::unique_ptr<Host> a, b;
  DomainRef vm;

  explicit SmallWorld(std::string xml = guest_xml("vm"), std::string driver = "test") {
    WorldSpec spec;
    HostSpec one;
    one.name = "a";
    one.driver = driver;
    one.guests = {std::move(xml)};
    one.started = {true};
    HostSpec two;
    two.name = "b";
    two.driver = driver;
    spec.hosts = {one, two};
    spec.link.bytes_per_s = 100 << 20;
    spec.link.stream_bytes_per_s = 50 << 20;
    world = World::make(clock, std::move(spec));
    a = world->connect("a");
    b = world->connect("b");
    vm = clock.run(a->find("vm"));
  }
  Guest& on(const char* host) { return *world->host(host)->guests.at(vm.uuid); }
  bool has(const char* host) { return world->host(host)->guests.contains(vm.uuid); }
};

/// The phases by hand, as a managed migration makes them.
struct Walk {
  PhaseCall source, destination;
  Begun begun;
  Prepared prepared;
  Cookie performed;
  Finished finished;
};
inline Task<> walk_to_perform(SmallWorld& w, Walk& walk, FlagSet flags, Params params) {
  walk.source = {Protocol::v3_params, w.vm, std::move(params), flags.with(Flag::change_protection)};
  walk.begun = co_await w.a->begin(walk.source);
  walk.source.params.set("destination_xml", walk.begun.xml);
  walk.destination = walk.source;
  walk.destination.flags = flags.without(Flag::auto_converge).without(Flag::abort_on_error);
  if (!walk.destination.params.has("destination_name"))
    walk.destination.params.set("destination_name", w.vm.name);
  walk.prepared = co_await w.b->prepare(walk.destination, walk.begun.cookie);
  if (walk.prepared.uri) walk.source.params.set("migrate_uri", *walk.prepared.uri);
  if (flags.has(Flag::offline)) co_return;
  walk.performed = co_await w.a->perform(walk.source, walk.prepared.cookie, std::nullopt);
}
inline Task<> walk_all(SmallWorld& w, Walk& walk, FlagSet flags, Params params) {
  Task<> first = walk_to_perform(w, walk, flags, std::move(params));
  co_await std::move(first);
  walk.finished = co_await w.b->finish(walk.destination, walk.performed, Verdict::completed);
  co_await w.a->confirm(walk.source, walk.finished.cookie, Verdict::completed);
}

/// Migrates and gives the figures of the finished job.
inline JobStats migrated(SmallWorld& w, FlagSet flags = {Flag::live}, Params params = {}) {
  Walk walk;
  w.clock.run(walk_all(w, walk, flags, std::move(params)));
  const auto& guests = w.world->host("a")->guests;
  const auto at = guests.find(w.vm.uuid);
  return at == guests.end() ? JobStats{} : at->second->completed.value_or(JobStats{});
}

}  // namespace vmferry::sim
