#pragma once
// One migration under way: what its parts share. Internal to core/migrate.
#include "core/migrate/engine.hpp"

namespace vmferry {

struct Copy;

class Run {
 public:
  Run(Engine engine_, Plan plan_, Endpoint& source_, Endpoint& destination_)
      : engine(engine_), plan(std::move(plan_)), source(source_), destination(destination_) {}

  Engine engine;
  Plan plan;
  Endpoint& source;
  Endpoint& destination;
  Report report;

  void enter(Phase phase);
  /// As enter(), but tells nobody: for the moment in which nothing else may happen.
  void mark(Phase phase);
  Phase phase() const { return phase_; }
  /// Ends the clock of the current phase.
  void leave();
  void notice(const std::string& text) { engine.observer.notice(text); }
  void note(std::string text) { report.notes.push_back(std::move(text)); }
  /// The source's state, as read while it held still: a paused guest arrives paused.
  void found(const DomainStatus& status);
  bool was_running = false;  ///< when the migration began
  bool was_active = plan.active;
  bool stopped_by_other = false;  ///< paused for a migration that is not this one
  bool died = false;              ///< it ran when this was planned, and does not since
  bool was_stopped = false;       ///< seen to be inactive; both are false when it could not be seen
  /// Nothing runs afterwards: a definition moves, or a guest that is shut off.
  bool moves_stopped() const { return plan.flags.has(Flag::offline) || was_stopped; }
  bool suspended_by_us = false;  ///< --timeout-suspend
  bool touched = false;          ///< Begin, or a Perform that begins by itself, was carried out
  bool copying = false;          ///< Perform was sent, and is not known to have been refused
  bool source_stands = false;    ///< Perform ended well, and no cancelled Confirm was sent since
  bool postcopy = false;         ///< the switch to post-copy happened
  std::string abort_why;         ///< why the copy was aborted, if it was
  /// What Finish is given before v3, where Perform has no cookie of its own.
  Cookie prepare_cookie;
  Cookie performed;             ///< Perform's
  std::shared_ptr<Copy*> copy;  ///< the copy, if there is one now

  /// `cancelled` when the user asked to stop.
  std::optional<Error> stopped() const;
  /// Throws that.
  void check_stop() const;
  /// As check_stop(); throws `undecided` when the guest may run elsewhere already.
  void check_go() const;

  /// The phase's arguments. CHANGE_PROTECTION goes to the source only; ABORT_ON_ERROR and
  /// AUTO_CONVERGE never go to the destination.
  PhaseCall source_call() const;
  PhaseCall destination_call() const;

  /// The endpoint's host, connected anew if its connection is gone; tried for a bounded time.
  /// Throws what the last attempt said.
  Task<> reconnect(Endpoint& end);
  /// Between two looks or attempts.
  Task<> pause();
  /// One look at the guest there, over the connection at hand or a new one. Does not throw.
  Task<Sighting> look(Endpoint& end);
  /// As look(), but gives a connection that has to be made anew a few seconds only.
  Task<Sighting> glance(Endpoint& end);

 private:
  Phase phase_ = Phase::begin;
  Micros entered_{};
  bool inside_ = false;
};

/// What came of the copy, as attend() needs to know it.
struct Copy {
  explicit Copy(const Executor& ex) : changed(ex), self(std::make_shared<Copy*>(this)) {}
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  ~Copy() { *self = nullptr; }
  Signal changed;
  bool ended = false;                ///< Perform has answered
  bool finishing = false;            ///< well, and Finish was sent
  bool over = false;                 ///< nothing more to attend to
  bool aborted = false;              ///< an abort was accepted by the source
  bool given_up = false;             ///< the copy has failed, and Perform does not answer
  std::string abort_why;             ///< why we asked for it
  bool postcopy = false;             ///< switched: no way back
  std::optional<Micros> stopped_at;  ///< the guest's CPUs stopped for the switch-over
  /// The source's guest ran on after that: its hypervisor gave the copy up.
  std::optional<Micros> resumed_at;
  int iteration = 0;  ///< of the copy, as events tell it
  bool switching_over() const { return stopped_at && !postcopy; }
  std::shared_ptr<Copy*> self;  ///< for those who may outlive it
};

/// Subscribes to the source's events, which from then on are told to the observer and to `copy`.
/// A host without events is no error: the statistics alone tell, then.
Task<> listen(Run& run, Copy& copy);

/// The guest's memory is on both hosts: neither copy may be ended, and the source's never resumed.
bool in_postcopy(const Sighting& s);
/// As above, and the path between the hosts broke.
bool postcopy_broke(const Sighting& s);

/// What is waited for now, for someone who wants it to stop.
std::string waited_for(const Run& run);

/// Follows the copy until copy.over: statistics to the observer, the user's wish to stop, the
/// timeout, the switch to post-copy, and the limit on standing still.
Task<> attend(Run& run, Copy& copy);

/// Until attend() has given Perform's answer up.
Task<> wait_given_up(Copy& copy);
/// What Perform is then taken to have said.
Error no_answer(const Copy& copy);

/// Looks at the destination from a second connection, from before Finish was sent.
class Witness {
 public:
  /// Opens the connection and subscribes; failing is no error, there is just no witness then.
  static Task<std::unique_ptr<Witness>> call(Run& run);
  ~Witness();
  /// True when it watched without a gap and the guest never ran there.
  bool never_ran() const;
  bool saw_it_run() const { return ran_; }
  Task<> dismiss();  ///< closes the connection

 private:
  std::unique_ptr<Subscription> subscription_;
  std::unique_ptr<Host> host_;  // ends first: a connection that ends takes its subscriptions along
  bool ran_ = false;
};

// The ways a migration goes. Each fills run.report, and throws nothing but bugs.
Task<> run_managed(Run& run);
Task<> run_by_source(Run& run);  ///< peer-to-peer and direct

// What is done when something went wrong (aftermath.cpp).
/// Until the source's own migration job is over, for a bounded time; a job that stays is noted.
Task<Sighting> wait_for_source(Run& run);
/// A failure before Finish(completed) was sent: the incoming guest is ended, the source runs on.
Task<> bring_home(Run& run, Error failure, bool prepared, bool confirm_too);
/// Perform's answer was lost with the connection to the source. True: the guest is there all the
/// same, go on with Confirm.
Task<bool> after_lost_perform(Run& run, Error failure);
/// Finish failed or its answer was lost. True: the guest is there, go on with Confirm.
Task<bool> after_failed_finish(Run& run, Error failure, const Cookie& begun, Witness* witness);
/// Confirm failed or its answer was lost; the guest is on the destination.
Task<> after_failed_confirm(Run& run, Error failure);
void close_verdict(Run& run, Whereabouts where, Error error);
/// The guest moved, and this was seen of its copy at the source.
Error left_at_source(const Sighting& here);
/// The verdict when the guest should be at the source and nobody could look, so nobody may say that
/// it is safe. Before Perform nothing stops it; after that, it may wait there, paused.
Error source_unseen(Run& run, const Error& failure);
/// A phase's failure as the user's: its "no such domain" is none of his, the guest is at the
/// source.
Error of_phase(Error failure);
/// What run.report saw on each side, in words.
std::string both_sides(const Run& run);
/// Whether the guest came to the destination as it should, whole.
bool arrived(const Run& run, const Sighting& seen);
/// A guest that waits for Finish, or for the rest of its memory.
bool still_incoming(const Sighting& seen);
/// Whether the guest has a definition on the destination. None: it could not be asked.
Task<std::optional<bool>> defined_there(Run& run);
/// Tells the source that the migration is given up.
Task<> release_source(Run& run);

// After the switch to post-copy there is only the way forward (postcopy.cpp).
/// The error for a guest whose memory is on both hosts, as run.report saw it.
Error half_way(Run& run, const Error& failure);
/// Makes the destination run the guest, telling it again where an answer was lost. True: it does,
/// and has all of its memory. report.destination is what was seen.
Task<bool> push_postcopy(Run& run);
/// The verdict when that did not come about.
Task<> postcopy_failed(Run& run, Error failure);
/// Asks both sides where the guest is, and makes the verdict final.
Task<> verify(Run& run);

// Where a driver departs from the contract (libxl.cpp).
/// Before anything is done: the guest should run, but an earlier migration has stopped it.
Task<std::optional<Error>> stands_still_already(Run& run);
/// Ends what Begin locked at the source while the guest runs there untouched.
Task<> give_back_lock(Run& run);
/// The source says that the guest runs, and report.source holds it: does it? One that stands still
/// is woken if that can be done; else the error that says so and what to type.
Task<std::optional<Error>> prove_source_runs(Run& run, const Error& failure);
/// Waits until the copy, which goes on by itself, has an outcome; a guest that arrived whole is
/// finished. True: it is on the destination. report.destination is what was seen.
Task<bool> finish_arrived(Run& run);
/// The source's daemon says that it holds no lock for a copy: it failed, or the daemon was
/// restarted.
Task<bool> copy_is_over(Run& run);
/// The guest waits on the destination, paused and locked: Finish was not carried out there.
Task<bool> awaits_finish(Run& run);
/// What to type when nobody knows who has the guest.
std::string libxl_remedy(const Run& run);

}  // namespace vmferry
