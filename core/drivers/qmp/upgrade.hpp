#pragma once
// One move of a guest into another process; the order is in upgrade.cpp.
#include <memory>
#include <string>
#include <vector>

#include "core/drivers/qmp/compare.hpp"
#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/handover.hpp"
#include "core/drivers/qmp/qmp_host.hpp"

namespace vmferry::qmp {

class Upgrade {
 public:
  Upgrade(QmpHost& host, DomainRef domain, UpgradeOptions options);
  Task<UpgradeReport> run();

 private:
  /// What is asked of a process beforehand.
  struct Facts {
    Shape shape;
    Json capabilities;  ///< to be set
  };
  /// A process that waits for the guest.
  struct Candidate {
    std::string migration = to_string(random_uuid());
    SideBySide beside;
    Instance instance;
    std::shared_ptr<Client> client;
    Facts facts;
  };

  void step(const char* name, const Candidate& candidate) const;
  // upgrade_launch.cpp
  Task<> inspect();
  NewProcess process_for(Candidate& candidate, const std::string& suffix, bool throw_away);
  Task<> launch(Candidate& candidate, const std::string& suffix, bool throw_away);
  Task<Facts> facts_of(Client& client);
  Task<> explain_machine(Error& failure);
  Task<> compare(Candidate& candidate);
  // upgrade_move.cpp
  Task<> move(Candidate& candidate, bool throw_away);
  Task<> listen(Candidate& candidate, const std::string& uri, bool throw_away);
  Task<> copy(Candidate& candidate, CopyPlan plan);
  Task<> show_progress();
  Micros copy_limit() const;
  Task<> rehearse();
  // upgrade_cpr.cpp
  Task<bool> take_cpr();
  Task<> move_by_cpr();
  // upgrade.cpp
  Task<> drop(Candidate& candidate);
  Task<> back_to_old(Candidate& candidate);
  Task<> switch_over();
  Task<> watch(const Went& went);
  Task<> take_over_names();
  Task<Error> unclear(Error why) const;

  QmpHost& host_;
  DomainRef domain_;
  UpgradeOptions options_;
  Micros began_;
  UpgradeReport report_;
  Instance old_;
  std::shared_ptr<Client> old_client_;
  Facts old_facts_;
  std::uint64_t version_ = 0;  ///< of the old QEMU
  bool was_running_ = false;
  bool old_ended_ = false;
  bool loses_writes_ = false;
  bool by_cpr_ = false;         ///< by QEMU's cpr-transfer
  bool ignore_shared_ = false;  ///< memory is in both processes
  Candidate new_;
  Micros stopped_at_{};  ///< QEMU's wall clock
};

}  // namespace vmferry::qmp
