#pragma once
// Plays one scenario: the client's part, the judge's, and what an operator does on the morning
// after.
#include <asio/cancellation_signal.hpp>

#include "tests/simulation/scenario.hpp"

namespace vmferry::sim {

class Silent final : public Observer {
 public:
  explicit Silent(Net& network) : network_(network) {}
  void phase(Phase) override {}
  void progress(const JobStats&) override {}
  void event(Side, const DomainEvent&) override {}
  void notice(const std::string& text) override { network_.say("                   " + text); }

 private:
  Net& network_;
};

class Stage {
 public:
  explicit Stage(const Scenario& scenario);
  Outcome play();

 private:
  // The play.
  Plan plan() const;
  Endpoint endpoint(Side side, const char* host);
  std::optional<Report> migrate_once(Plan plan, const char* to, Stop& stop);
  void run_rival();
  std::optional<Report> drive(Task<Report> task);
  void settle();      ///< what is still under way on the hosts ends
  void mend();        ///< the remedy of an undecided migration, by one who knows
  void once_again();  ///< everything works again: the guest can be moved
  void misreport(Report& report) const;

  // The judge.
  const Guest* guest(const char* host) const;
  bool runs(const char* host) const;
  bool active(const char* host) const;
  bool here(const char* host) const;  ///< in the state that it should arrive in
  void judge_verdict(const Report& report);
  void judge_world(const std::optional<Report>& last);
  void judge_leftovers();
  void judge_host(const char* host);
  void judge_definitions(const Report& report);
  bool half_way(const char* host) const;  ///< the guest's memory is on both hosts

  const Scenario& scenario_;
  const Way& way_;
  asio::io_context io_{1};
  SimClock clock_{io_};
  std::shared_ptr<World> world_;
  DomainRef vm_;
  Net network_;
  Stop stop_;
  Silent observer_;
  asio::cancellation_signal* kill_ = nullptr;
  std::shared_ptr<std::uint64_t[]> bytes_;  ///< that passed, by side
  bool killed_ = false, rival_unsure_ = false;
  bool begun_ = false;  ///< both connections were open, and more than that was done
};

}  // namespace vmferry::sim
