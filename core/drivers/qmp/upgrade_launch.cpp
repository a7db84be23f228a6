// The second process of an upgrade: what it is started with, and whether it is the same machine.
#include <fmt/format.h>
#include <unistd.h>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/drivers/qmp/compare.hpp"
#include "core/drivers/qmp/option_value.hpp"
#include "core/drivers/qmp/upgrade.hpp"

namespace vmferry::qmp {

Task<> Upgrade::inspect() {
  old_ = host_.active(domain_);
  old_client_ = co_await host_.monitor(old_);
  auto [answers, about] = co_await both(
      both(old_client_->execute("query-status"), old_client_->execute("query-migrate")),
      both(real_machine(*old_client_), loses_writes(*old_client_)));
  const auto& [state, info] = answers;
  was_running_ = flag_at(state, "running");
  if (old_.stage == Stage::incoming || (old_.stage == Stage::handed_over && !was_running_))
    throw Error(ErrorId::invalid_state, "this copy of the guest is not one that can be moved")
        .advise("`vmferry cleanup` settles what an interrupted command has left.");
  if (!old_.cannot.empty())
    throw Error(ErrorId::blocked,
                "another process could not be this guest: " + joined(old_.cannot, "; "));
  const Json& blockers = at(info, "blocked-reasons");
  if (blockers.is_array() && !blockers.empty())
    throw Error(ErrorId::blocked, "QEMU says: " + escaped_lines(blockers[0].dump()));
  report_.domain = ref(old_);
  report_.old_version = old_client_->version_text();
  version_ = old_client_->version_number();
  report_.machine = std::move(about.first);
  loses_writes_ = about.second;
}

Task<Upgrade::Facts> Upgrade::facts_of(Client& client) {
  const FlagSet flags{Flag::live};
  const Params none;
  auto [shape, known] = co_await both(shape_of(client), known_capabilities(client));
  co_return Facts{std::move(shape), capability_list(known, flags, none, ignore_shared_)};
}

namespace {
// What a rehearsal writes to the memory stays its own.
void make_private(Words& argv) {
  for (std::size_t i = 1; i + 1 < argv.size(); ++i) {
    OptionValue object(argv[i + 1]);
    if (option_name(argv[i]) != "object" || object.kind() != "memory-backend-file") continue;
    object.set("share", "off");
    argv[i + 1] = object.text();
  }
}
}  // namespace

NewProcess Upgrade::process_for(Candidate& candidate, const std::string& suffix, bool throw_away) {
  Words argv = old_.argv;
  if (!options_.emulator.empty()) argv[0] = options_.emulator;
  pin_machine(argv, report_.machine);
  Handover memory = value_or_throw(hand_over(old_, argv, version_));
  SideBySide& beside = candidate.beside;
  beside =
      side_by_side(memory.argv, suffix, old_.dir + "/vnc" + suffix, belongings_of(old_.process));
  if (!beside.impossible.empty())
    throw Error(ErrorId::unsupported, "a second process cannot be started beside the first: " +
                                          joined(beside.impossible, "; "));
  NewProcess p{.name = old_.name, .uuid = old_.uuid, .xml = old_.xml, .argv = beside.kept};
  p.started_as = beside.argv;
  p.stage = Stage::incoming;
  p.migration = candidate.migration;
  p.transient = old_.transient;
  p.directory = old_.directory;
  p.pid_file = old_.pid_file;
  p.renames = beside.renames;
  p.afterwards = beside.afterwards;
  if (!beside.vnc_port.empty()) p.afterwards.push_back(vnc_at(beside.vnc_host, beside.vnc_port));
  p.same_kernel = true;
  p.memory = std::move(memory.memory);
  p.shared_ram = memory.bytes;
  p.private_view = throw_away && memory.any;
  if (p.private_view) make_private(p.started_as);
  p.inherited = std::move(beside.inherited);
  for (Fd& fd : memory.inherited) p.inherited.push_back(std::move(fd));
  report_.handed_over = memory.whole;
  report_.copied_because = memory.copied_because;
  report_.losses = beside.losses;
  ignore_shared_ = memory.any;
  by_cpr_ = memory.by_cpr;
  return p;
}

Task<> Upgrade::launch(Candidate& candidate, const std::string& suffix, bool throw_away) {
  NewProcess process = process_for(candidate, suffix, throw_away);
  host_.store().expect(candidate.migration, Outlives::program);
  Task<Instance> launching = host_.launch(std::move(process), true);
  Task<Facts> asking = facts_of(*old_client_);  // that takes a moment, too
  auto [launched, known] = co_await both(settle(std::move(launching)), settle(std::move(asking)));
  if (launched) candidate.instance = *launched;
  if (launched && !known) {
    co_await drop(candidate);
    throw std::move(known).error();
  }
  if (!launched) {
    co_await shield();
    host_.store().forget_migration(candidate.migration);
    for (const auto& [temporary, real] : candidate.beside.renames) ::unlink(temporary.c_str());
    Error failure = std::move(launched).error();
    if (failure.message.find("machine type") != std::string::npos)
      co_await explain_machine(failure);
    throw failure;
  }
  old_facts_ = *std::move(known);
  candidate.client = co_await host_.monitor(candidate.instance);
  report_.new_version = candidate.client->version_text();
  step("launched", candidate);
}

// The new binary does not know the machine: which ones does it know?
Task<> Upgrade::explain_machine(Error& failure) {
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
  remove_all(host_.store().log_of(launched->uuid));
  failure =
      Error(ErrorId::config_unsupported,
            fmt::format("{} has no machine type {}; of this family it has: {}", escaped(program),
                        report_.machine, types ? joined(*types, ", ") : "unknown"))
          .note(failure.message)
          .advise("Use a QEMU that has the guest's machine type: newer ones have the older types.");
}

Task<> Upgrade::compare(Candidate& candidate) {
  Task<Facts> asking = facts_of(*candidate.client);
  candidate.facts = co_await std::move(asking);
  const std::vector<std::string> found = differences(old_facts_.shape, candidate.facts.shape);
  step("compared", candidate);
  if (!found.empty())
    throw Error(ErrorId::config_unsupported,
                "the new process does not have the same machine: " + joined(found, "; "));
}

}  // namespace vmferry::qmp
