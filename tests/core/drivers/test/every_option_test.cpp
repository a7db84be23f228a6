// Every flag and parameter that the rules allow changes something that can be seen: bytes, rounds,
// times, who listens where, what stands where afterwards, what is refused.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

#include "core/async/race.hpp"
#include "core/flags/table.hpp"
#include "tests/core/drivers/test/world.hpp"

namespace vmferry::sim {
namespace {

using namespace std::chrono_literals;
using enum Flag;
using Value = TypedParam::Value;

/// What the option is added to, and the guest that shows it.
struct Trial {
  Opt option;
  FlagSet flags = {live};
  std::vector<TypedParam> params = {};
  Value value = std::int32_t{0};  ///< of a parameter
  int dirty_rate = 50, page_size = 64;
  std::string_view cache = "none";
  std::uint64_t max_downtime_ms = 300;
};

std::string two_disks(const Trial& t) {
  std::string xml = guest_xml("vm", t.dirty_rate, t.page_size, t.cache);
  xml.replace(xml.find("</devices>"), 0,
              "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>"
              "<source file='/shared/second'/><target dev='vdb'/></disk>");
  return xml;
}

std::string changed(std::string xml, std::string_view from, std::string_view to) {
  return xml.replace(xml.find(from), from.size(), to);
}

Task<bool> flagged(Task<> body) {
  co_await std::move(body);
  co_return true;
}

// Asks for post-copy, breaks a disk and takes the guest away while it is copied.
Task<> disturb(SmallWorld& w, std::string& seen) {
  co_await w.clock.sleep(400ms);
  const auto asked = co_await settle(w.a->start_postcopy(w.vm));
  seen += asked ? " post-copy" : " no post-copy";
  w.on("a").io_error = 1;
}

Task<> phases(SmallWorld& w, PhaseCall call, std::string& seen) {
  const Cookie none;
  if (call.flags.has(peer2peer)) {
    seen += " driven by the source";
    co_await w.a->perform(call, none, "test:///b");
    co_return;
  }
  const auto other = w.world->connect("a");
  const Begun begun = co_await w.a->begin(call);
  const auto second = co_await settle(other->begin(call));
  seen += second ? " open to others" : " held";
  PhaseCall far = call;
  far.flags = far.flags.without(auto_converge).without(abort_on_error).without(change_protection);
  far.params.set("destination_xml", begun.xml);
  if (!far.params.has("destination_name")) far.params.set("destination_name", w.vm.name);
  const Prepared prepared = co_await w.b->prepare(far, begun.cookie);
  const Guest& coming = w.on("b");
  seen += fmt::format(" to {} disks {}", prepared.uri.value_or(""),
                      coming.in ? coming.in->disks_uri : "");
  if (prepared.uri) call.params.set("migrate_uri", *prepared.uri);
  Cookie performed;
  if (!call.flags.has(offline)) {
    const auto [copied, pushed] = co_await both(
        settle(w.a->perform(call, prepared.cookie, std::nullopt)), flagged(disturb(w, seen)));
    performed = value_or_throw(Result<Cookie>(copied));
  }
  const Micros began = w.clock.now();
  const Finished finished = co_await w.b->finish(far, performed, Verdict::completed);
  seen += fmt::format(" finish {} us", (w.clock.now() - began).count());
  co_await w.a->confirm(call, finished.cookie, Verdict::completed);
}

std::string state(SmallWorld& w, const char* host) {
  if (!w.has(host)) return "absent";
  const Guest& g = w.on(host);
  return fmt::format("{} {} {} {} vcpus, defined with {}, screen at '{}', kept {}", g.name,
                     static_cast<int>(g.status.state), g.status.reason, g.spec.vcpus,
                     g.spec.xml.contains("<vcpu>3") ? 3 : 1, g.clients_sent_to, g.persistent);
}

std::string observed(const Trial& t, FlagSet flags, Params params) {
  SmallWorld w(two_disks(t));
  w.on("a").max_downtime_ms = t.max_downtime_ms;
  const auto uuid = "<uuid>" + to_string(w.vm.uuid) + "</uuid>";
  for (TypedParam& p : params.items)  // XML that a parameter brings is about the same guest
    if (auto* text = std::get_if<std::string>(&p.value); text && text->starts_with("<domain"))
      text->insert(text->find("<name>"), uuid);
  std::string seen;
  PhaseCall call{Protocol::v3_params, w.vm, std::move(params), flags};
  Task<> moving = with_deadline(w.clock, 600s, "the end", phases(w, std::move(call), seen));
  const Result<> moved = w.clock.run(settle(std::move(moving)));
  if (!moved) seen += " refused: " + moved.error().message;
  seen += "; a: " + state(w, "a") + "; b: " + state(w, "b");
  if (!w.has("a") || !w.on("a").completed) return seen;
  for (const TypedParam& p : w.on("a").completed->fields.items)
    seen += std::visit([&](const auto& v) { return fmt::format(" {}={}", p.field, v); }, p.value);
  return seen;
}

TypedParam param(std::string_view field, Value value) {
  return {std::string(field), std::move(value)};
}
Value text(std::string_view s) { return std::string(s); }

std::vector<Trial> of_flags() {
  const FlagSet disks = {live, non_shared_disk};
  return {
      {.option = Opt::live, .flags = {}},
      {.option = Opt::peer2peer},
      {.option = Opt::tunnelled, .flags = {live, peer2peer}},
      {.option = Opt::persist_dest},
      {.option = Opt::undefine_source},
      {.option = Opt::paused},
      {.option = Opt::non_shared_disk},
      {.option = Opt::non_shared_inc},
      {.option = Opt::change_protection},
      {.option = Opt::unsafe, .cache = "writeback"},
      {.option = Opt::offline, .flags = {persist_dest}},
      {.option = Opt::compressed, .dirty_rate = 400},
      {.option = Opt::abort_on_error},
      {.option = Opt::auto_converge, .dirty_rate = 3000},
      {.option = Opt::rdma_pin_all, .params = {param("migrate_uri", text("rdma://b"))}},
      {.option = Opt::postcopy},
      {.option = Opt::tls},
      {.option = Opt::parallel},
      {.option = Opt::non_shared_synchronous_writes, .flags = disks},
      {.option = Opt::postcopy_resume, .flags = {live, postcopy}},
      {.option = Opt::zerocopy, .flags = {live, parallel}},
  };
}

std::vector<Trial> of_ways() {
  const FlagSet disks = {live, non_shared_disk};
  const std::string other = changed(guest_xml("vm"), "<vcpu>1", "<vcpu>3");
  return {
      {.option = Opt::migrate_uri, .value = text("tcp://b:49200")},
      {.option = Opt::destination_name, .value = text("moved")},
      {.option = Opt::destination_xml, .value = other},
      {.option = Opt::persistent_xml, .flags = {live, persist_dest}, .value = other},
      {.option = Opt::bandwidth, .value = std::uint64_t{10}},
      {.option = Opt::bandwidth_postcopy,
       .flags = {live, postcopy},
       .value = std::uint64_t{2},
       .dirty_rate = 3000},
      {.option = Opt::bandwidth_avail_switchover,
       .value = std::uint64_t{3},
       .dirty_rate = 200,
       .max_downtime_ms = 3000},
      {.option = Opt::graphics_uri, .value = text("spice://elsewhere:5900")},
      {.option = Opt::listen_address, .value = text("192.0.2.7")},
      {.option = Opt::migrate_disks, .flags = disks, .value = text("vda")},
      {.option = Opt::migrate_disks_detect_zeroes, .flags = disks, .value = text("vda")},
      {.option = Opt::disks_port, .flags = disks, .value = std::int32_t{49300}},
      {.option = Opt::disks_uri, .flags = disks, .value = text("tcp://b:49300")},
  };
}

std::vector<Trial> of_memory() {
  const TypedParam mt = param("compression", text("mt")), zlib = param("compression", text("zlib")),
                   zstd = param("compression", text("zstd"));
  const FlagSet squeezed = {live, compressed}, many = {live, parallel},
                both = {live, parallel, compressed};
  return {
      {.option = Opt::compression, .flags = squeezed, .value = text("mt")},
      {.option = Opt::compression_mt_level,
       .flags = squeezed,
       .params = {mt},
       .value = std::int32_t{9},
       .page_size = 4096},
      {.option = Opt::compression_mt_threads,
       .flags = squeezed,
       .params = {mt},
       .value = std::int32_t{1}},
      {.option = Opt::compression_mt_dthreads,
       .flags = squeezed,
       .params = {mt},
       .value = std::int32_t{1},
       .page_size = 256},
      {.option = Opt::compression_xbzrle_cache,
       .flags = squeezed,
       .value = std::uint64_t{1 << 20},
       .dirty_rate = 400},
      {.option = Opt::compression_zlib_level,
       .flags = both,
       .params = {zlib},
       .value = std::int32_t{9},
       .page_size = 4096},
      {.option = Opt::compression_zstd_level,
       .flags = both,
       .params = {zstd},
       .value = std::int32_t{9},
       .page_size = 4096},
      {.option = Opt::auto_converge_initial,
       .flags = {live, auto_converge},
       .value = std::int32_t{90},
       .dirty_rate = 3000},
      {.option = Opt::auto_converge_increment,
       .flags = {live, auto_converge},
       .value = std::int32_t{40},
       .dirty_rate = 3000},
      {.option = Opt::parallel_connections, .flags = many, .value = std::int32_t{1}},
      {.option = Opt::tls_destination, .flags = {live, tls}, .value = text("elsewhere")},
  };
}

TEST_CASE("test driver: every flag and parameter has an effect that shows") {
  std::set<Opt> tried;
  std::vector<Trial> trials = of_flags();
  for (auto more : {of_ways(), of_memory()}) trials.insert(trials.end(), more.begin(), more.end());
  for (const Trial& t : trials) {
    CAPTURE(row(t.option).option);
    tried.insert(t.option);
    Params params;
    params.items = t.params;
    const std::string base = observed(t, t.flags, params);
    CHECK(base == observed(t, t.flags, params));
    FlagSet flags = t.flags;
    if (const auto flag = flag_of(t.option))
      flags.add(*flag);
    else
      params.add(row(t.option).name, t.value);
    const std::string with = observed(t, flags, params);
    INFO(with);
    CHECK(with != base);
    CHECK_FALSE(base.contains("not supported"));
    CHECK_FALSE(with.contains("not supported"));
  }
  CHECK(tried.size() == kFlagCount + kParamCount);
}

}  // namespace
}  // namespace vmferry::sim
