// Moving a running guest into another QEMU process on the same host.
//
// The order, and who owns the guest in each step:
//   launch, compare      the old process runs it; the new one waits
//   copy                 the old one stops it at the end; a failure lets it run on there
//   let run              from here on the new one may have run it: with handed-over memory the old
//                        one is never resumed, unless the new one says that it did not start
//   end old, names       the new process has it
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/compare.hpp"
#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

namespace {

class Upgrade {
 public:
  Upgrade(QmpHost& host, DomainRef domain, UpgradeOptions options)
      : host_(host),
        domain_(std::move(domain)),
        options_(std::move(options)),
        began_(host.clock().now()) {}

  Task<UpgradeReport> run() {
    const Fd lock = host_.store().lock_domain(domain_.uuid);
    co_await inspect();
    co_await launch();
    const auto same = co_await settle(compare());
    if (!same || options_.dry_run) {
      co_await drop_new();
      if (!same) throw Error(same.error());
      report_.total = host_.clock().now() - began_;
      co_return report_;
    }
    const auto moved = co_await settle(move());
    if (!moved) {
      co_await back_to_old();
      throw Error(moved.error());
    }
    co_await switch_over();
    co_await take_over_names();
    report_.domain = ref(new_);
    report_.total = host_.clock().now() - began_;
    co_return report_;
  }

 private:
  void step(const char* name) const {
    if (options_.on_step) options_.on_step(name, new_.process.pid);
  }

  Task<> inspect() {
    old_ = host_.active(domain_);
    old_client_ = co_await host_.monitor(old_);
    const Json state = co_await old_client_->execute("query-status");
    was_running_ = flag_at(state, "running");
    if (old_.stage == Stage::incoming || (old_.stage == Stage::handed_over && !was_running_))
      throw Error(ErrorId::invalid_state, "this copy of the guest is not one that can be moved")
          .advise("`vmferry cleanup` settles what an interrupted command has left.");
    const Json info = co_await old_client_->execute("query-migrate");
    const Json& blockers = at(info, "blocked-reasons");
    if (blockers.is_array() && !blockers.empty())
      throw Error(ErrorId::blocked, "QEMU says: " + escaped_lines(blockers[0].dump()));
    report_.domain = ref(old_);
    report_.old_version = old_client_->version_text();
    report_.machine = co_await real_machine(*old_client_);
  }

  NewProcess process() {
    NewProcess p{.name = old_.name, .uuid = old_.uuid, .xml = old_.xml, .argv = old_.argv};
    if (!options_.emulator.empty()) p.argv[0] = options_.emulator;
    pin_machine(p.argv, report_.machine);
    beside_ = side_by_side(p.argv, ".new", old_.dir + "/vnc");
    if (!beside_.impossible.empty())
      throw Error(ErrorId::unsupported, "a second process cannot be started beside the first: " +
                                            joined(beside_.impossible, "; "));
    p.started_as = beside_.argv;
    p.stage = Stage::incoming;
    p.migration = migration_;
    p.transient = old_.transient;
    const Ram ram = ram_of(p.argv);
    std::optional<Fd> memory;
    if (old_.shared_ram != 0) memory = memory_of(old_.process, kMemoryName, old_.shared_ram);
    report_.handed_over = memory.has_value();
    if (!memory)
      report_.copied_because = ram.own.empty()
                                   ? "the guest was not started with memory that can be handed over"
                                   : "the guest's memory is its own: " + ram.own;
    if (memory)
      p.memory = *std::move(memory);
    else if (ram.own.empty())
      p.memory = make_memory(kMemoryName, ram.bytes);
    p.shared_ram = report_.handed_over ? old_.shared_ram : ram.bytes;
    return p;
  }

  Task<> launch() {
    host_.store().expect(migration_, old_.uuid);
    Task<Instance> launching = host_.launch(process(), true);
    auto launched = co_await settle(std::move(launching));
    if (!launched) {
      for (const auto& [temporary, real] : beside_.renames) ::unlink(temporary.c_str());
      Error failure = std::move(launched).error();
      if (failure.message.find("machine type") != std::string::npos)
        co_await explain_machine(failure);
      throw failure;
    }
    new_ = *std::move(launched);
    new_client_ = co_await host_.monitor(new_);
    report_.new_version = new_client_->version_text();
    step("launched");
  }

  // The new binary does not know the machine: which ones does it know?
  Task<> explain_machine(Error& failure) {
    NewProcess probe{.name = "probe", .uuid = random_uuid(), .xml = {}, .argv = {}};
    const std::string program = options_.emulator.empty() ? old_.argv[0] : options_.emulator;
    probe.argv = {program, "-M", "none", "-nodefaults", "-display", "none"};
    probe.stage = Stage::incoming;
    Task<Instance> launching = host_.launch(std::move(probe), false);
    const auto launched = co_await settle(std::move(launching));
    if (!launched) co_return;
    std::shared_ptr<Client> client = co_await host_.monitor(*launched);
    Task<std::vector<std::string>> asking = machine_types(*client, report_.machine);
    const auto types = co_await settle(std::move(asking));
    co_await host_.end(*launched);
    failure =
        Error(ErrorId::config_unsupported,
              fmt::format("{} has no machine type {}; of this family it has: {}", escaped(program),
                          report_.machine, types ? joined(*types, ", ") : "unknown"))
            .note(failure.message);
  }

  Task<> compare() {
    Task<std::vector<std::string>> comparing = differences(*old_client_, *new_client_);
    const std::vector<std::string> found = co_await std::move(comparing);
    step("compared");
    if (!found.empty())
      throw Error(ErrorId::config_unsupported,
                  "the new process does not have the same machine: " + joined(found, "; "));
  }

  Task<> move() {
    const FlagSet flags{Flag::live};
    const Params none;
    Json here = co_await capability_list(*old_client_, flags, none, report_.handed_over);
    Json there = co_await capability_list(*new_client_, flags, none, report_.handed_over);
    Json set = {{"capabilities", std::move(there)}};
    co_await new_client_->execute("migrate-set-capabilities", std::move(set));
    CopyPlan plan;
    plan.uri = "unix:" + new_.dir + "/in";
    plan.capabilities = std::move(here);
    plan.parameters = parameter_list(flags, none, true);
    const bool loses = co_await loses_writes(*old_client_);
    plan.stop_first = was_running_ && !report_.handed_over && loses;
    if (plan.stop_first)
      host_.notice(
          fmt::format("the guest is paused while its memory is copied: QEMU {} without "
                      "KVM would lose what it writes meanwhile",
                      report_.old_version));
    Json where = {{"uri", plan.uri}};
    co_await new_client_->execute("migrate-incoming", std::move(where));
    co_await flush_images();
    old_.held = true;
    old_.migration = migration_;
    // Marked before, not after: nobody who finds it stopped later may let it run without evidence.
    if (report_.handed_over) old_.stage = Stage::handed_over;
    host_.store().save(old_);
    step("ready");
    Task<CopyOutcome> copying = with_deadline(host_.clock(), copy_limit(), "the end of the copy",
                                              copy_guest(*old_client_, plan));
    const CopyOutcome copied = co_await std::move(copying);
    stopped_at_ = copied.stopped_at;
    step("copied");
  }

  // QEMU waits for ever for a new process that hangs; then that one is killed, which frees the old.
  Micros copy_limit() const {
    const auto ram = static_cast<std::int64_t>(report_.handed_over ? 0 : ram_of(old_.argv).bytes);
    return std::chrono::seconds(30 + ram / (std::int64_t{10} << 20));
  }

  // QEMU flushes its disks while the guest stands still; the less is left, the shorter.
  Task<> flush_images() {
    const Json blocks = co_await old_client_->execute("query-block");
    if (!blocks.is_array()) co_return;
    for (const Json& block : blocks) {
      const Json& inserted = at(block, "inserted");
      const std::string path = text_at(inserted, "file");
      if (flag_at(inserted, "ro") || !path.starts_with('/')) continue;
      const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (file) ::fdatasync(file.get());
    }
  }

  Task<> drop_new() {
    host_.store().not_started(migration_);
    co_await host_.end(new_);
    host_.store().forget_migration(migration_);
    for (const auto& [temporary, real] : beside_.renames) ::unlink(temporary.c_str());
  }

  // The new process never ran the guest: whatever became of its memory, the old one's is whole.
  Task<> back_to_old() {
    co_await shield();
    co_await drop_new();
    if (was_running_) {
      Task<> running = run_again(*old_client_, host_.clock());
      co_await std::move(running);
    }
    old_.stage = Stage::active;
    old_.held = false;
    old_.migration.clear();
    host_.store().save(old_);
  }

  Task<> switch_over() {
    co_await shield();
    if (!was_running_) {
      host_.store().starting(migration_);
      new_.stage = Stage::active;
      host_.store().save(new_);
      co_return;
    }
    Task<Micros> going = host_.let_run(new_);
    const auto went = co_await settle(std::move(going));
    if (went) {
      if (stopped_at_.count() != 0) report_.pause = *went - stopped_at_;
      step("running");
      co_return;
    }
    if (!went.error().reply_lost) {
      co_await back_to_old();
      throw Error(went.error());
    }
    throw unclear(went.error());
  }

  Error unclear(const Error& why) const {
    const bool there = alive(new_.process);
    Error error(
        ErrorId::undecided,
        fmt::format("{}. The new process {} {}; the old process {} is stopped and kept. {}",
                    why.message, new_.process.pid,
                    there ? "is there" : "has ended after it may have run", old_.process.pid,
                    report_.handed_over
                        ? "Its memory was handed over, so it must never be resumed"
                        : "Its memory is as it was at the switch; its disks may not be"));
    error.remedy = fmt::format(
        "Look at the log {}. If the new process does not run the guest, end both (`vmferry destroy "
        "{}`) and start the guest anew from its disks.",
        host_.store().log_of(old_.uuid), old_.name);
    return error.at(Side::destination).in("finish");
  }

  Task<> take_over_names() {
    co_await shield();
    // Not asked to quit: it would unlink the sockets that are renamed to its paths here.
    co_await host_.end(old_);
    host_.store().forget_migration(migration_);
    std::vector<std::string> troubles;
    for (const auto& [temporary, real] : beside_.renames)
      if (std::rename(temporary.c_str(), real.c_str()) != 0)
        troubles.push_back(io_error("cannot rename to", real, errno).message);
    if (!beside_.vnc_port.empty()) {
      Json address = {{"type", "inet"}, {"host", beside_.vnc_host}, {"port", beside_.vnc_port}};
      Json where = {{"type", "vnc"}, {"addresses", Json::array({std::move(address)})}};
      const auto listening =
          co_await settle(new_client_->execute("display-update", std::move(where)));
      if (!listening) troubles.push_back(listening.error().message);
    }
    step("named");
    if (!troubles.empty())
      throw Error(ErrorId::leftover,
                  "the guest runs in the new QEMU, but: " + joined(troubles, "; "));
  }

  QmpHost& host_;
  DomainRef domain_;
  UpgradeOptions options_;
  Micros began_;
  std::string migration_ = to_string(random_uuid());
  UpgradeReport report_;
  SideBySide beside_;
  Instance old_, new_;
  std::shared_ptr<Client> old_client_, new_client_;
  bool was_running_ = false;
  Micros stopped_at_{};
};

}  // namespace
}  // namespace vmferry::qmp

namespace vmferry {

Task<UpgradeReport> upgrade(Host& host, DomainRef domain, UpgradeOptions options) {
  qmp::Upgrade one(qmp::as_qmp(host), std::move(domain), std::move(options));
  Task<UpgradeReport> running = one.run();
  UpgradeReport report = co_await std::move(running);
  co_return report;
}

}  // namespace vmferry
