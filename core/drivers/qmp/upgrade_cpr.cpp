// QEMU's own way to give memory to another process, cpr-transfer (docs/devel/migration/CPR.rst),
// for guests whose memory is no file. The second process says nothing on its monitor before the
// guest's descriptors have come, so another one is compared in its place.
#include <unistd.h>

#include "core/async/race.hpp"
#include "core/drivers/qmp/upgrade.hpp"

namespace vmferry::qmp {

namespace {

constexpr Micros kLimit = std::chrono::seconds(10);

Json channel(const char* kind, const std::string& path) {
  Json address = {{"transport", "socket"}, {"type", "unix"}, {"path", path}};
  return {{"channel-type", kind}, {"addr", std::move(address)}};
}

// It has no other way to say that it listens.
Task<> wait_for_socket(std::string path, ProcessId process, Clock& clock) {
  const Micros give_up = clock.now() + kLimit;
  while (::access(path.c_str(), F_OK) != 0) {
    if (!alive(process)) throw Error(ErrorId::hypervisor_died, "the new QEMU ended at its start");
    if (clock.now() > give_up) throw Error(ErrorId::timed_out, "the new QEMU does not listen");
    co_await clock.sleep(std::chrono::milliseconds(2));
  }
}

// Its monitor greets too late to ask for events.
Task<> loaded(Client& client, Clock& clock) {
  const Micros give_up = clock.now() + kLimit;
  for (;;) {
    const Json info = co_await client.execute("query-migrate");
    const std::string status = text_at(info, "status");
    if (status == "completed") co_return;
    if (status == "failed" || clock.now() > give_up)
      throw Error(ErrorId::migrate_failed, "the new QEMU could not load the guest");
    co_await clock.sleep(std::chrono::milliseconds(1));
  }
}

}  // namespace

// Whether the new QEMU knows it; then the one that was compared makes room for one that waits so.
Task<bool> Upgrade::take_cpr() {
  Json mode = {{"mode", "cpr-transfer"}};
  Task<Json> asking = new_.client->execute("migrate-set-parameters", std::move(mode));
  const auto known = co_await settle(std::move(asking));
  if (!known && known.error().id != ErrorId::remote) throw Error(known.error());
  by_cpr_ = known.has_value();
  if (!by_cpr_) co_return false;
  if (!options_.dry_run) {
    co_await drop(new_);
    new_ = {};
    NewProcess process = process_for(new_, ".new", false);
    const std::string base = old_.dir + "/";
    for (const char* name : {"main", "cpr"}) ::unlink((base + name).c_str());
    process.channels = {channel("main", base + "main").dump(), channel("cpr", base + "cpr").dump()};
    host_.store().expect(new_.migration, Outlives::program);
    Task<Instance> launching = host_.launch(std::move(process), true);
    new_.instance = co_await std::move(launching);
    co_await wait_for_socket(base + "cpr", new_.instance.process, host_.clock());
    step("launched", new_);
  }
  report_.handed_over = true;
  report_.copied_because.clear();
  co_return true;
}

Task<> Upgrade::move_by_cpr() {
  const FlagSet flags{Flag::live};
  const Params none;
  CopyPlan plan;
  plan.hand_over = true;
  plan.channels =
      Json::array({channel("main", old_.dir + "/main"), channel("cpr", old_.dir + "/cpr")});
  plan.parameters = parameter_list(flags, none, true);
  plan.parameters["mode"] = "cpr-transfer";
  const Capabilities known = co_await known_capabilities(*old_client_);
  plan.capabilities = capability_list(known, flags, none, false);
  co_await flush_images(*old_client_);
  old_.held = true;
  old_.migration = new_.migration;
  old_.stage = Stage::handed_over;
  host_.store().save(old_);
  step("ready", new_);
  Task<CopyOutcome> copying = with_deadline(host_.clock(), kLimit, "the end of the hand-over",
                                            copy_guest(*old_client_, host_.clock(), plan));
  Task<std::shared_ptr<Client>> opening =
      with_deadline(host_.clock(), kLimit, "the new QEMU's monitor", host_.monitor(new_.instance));
  auto [copied, client] = co_await both(std::move(copying), std::move(opening));
  stopped_at_ = copied.stopped_at;
  new_.client = std::move(client);
  co_await loaded(*new_.client, host_.clock());
  step("copied", new_);
}

}  // namespace vmferry::qmp
