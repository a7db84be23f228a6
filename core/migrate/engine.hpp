#pragma once
// Moves one guest: drives the phases of core/host/host.hpp, follows the copy, and afterwards knows
// where the guest is. The rules it lives by:
//
//  * Before Finish was sent, the source owns the guest: any failure ends the incoming guest and
//    sees to it that the source runs on.
//  * After Finish was sent, the source is resumed only on evidence from the destination that the
//    guest did not run there. "Gone there" is such evidence only from a host that keeps a record
//    (Host::ever_started), or when a second connection watched the destination all the while.
//  * A lost Confirm is no success until the source's copy has been seen gone.
//  * In doubt the source stays paused, and the report says what was seen and what to type.
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/signal.hpp"
#include "core/host/host.hpp"
#include "core/migrate/plan.hpp"

namespace vmferry {

enum class Phase : std::uint8_t { begin, prepare, perform, finish, confirm, verify };
inline constexpr std::size_t kPhaseCount = 6;
std::string_view name(Phase phase);

/// One of the two hosts: its connection, and how to make another when that one breaks.
struct Endpoint {
  Side side = Side::none;
  std::string uri;
  std::unique_ptr<Host> host;  ///< may be null for the destination of a p2p migration
  std::function<Task<std::unique_ptr<Host>>()> reopen;
  /// Kept as long as the connection: ending it for itself would cost calls that nobody needs.
  std::unique_ptr<Subscription> events = nullptr;
};

/// Told what happens while it happens. Calls must return at once.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void phase(Phase phase) = 0;
  virtual void progress(const JobStats& stats) = 0;
  virtual void event(Side side, const DomainEvent& event) = 0;
  virtual void notice(const std::string& text) = 0;  ///< a sentence for the user
};

/// What was last seen of the guest on one side.
struct Sighting {
  enum class Seen : std::uint8_t { not_asked, unreachable, absent, inactive, paused, running };
  Seen seen = Seen::not_asked;
  DomainStatus status;
  std::string trouble;  ///< why it could not be asked
  bool known() const { return seen != Seen::not_asked && seen != Seen::unreachable; }
  bool active() const { return seen == Seen::paused || seen == Seen::running; }
};
std::string describe(const Sighting& s);  ///< "running (migrated)", "not there", "unreachable: …"

/// Where the guest is when all is over.
enum class Whereabouts : std::uint8_t { source, destination, undecided, lost };

struct Report {
  Whereabouts where = Whereabouts::source;
  std::optional<Error> error;  ///< none: done as asked
  Sighting source, destination;
  std::optional<DomainRef> domain;  ///< on the destination, once it is there
  std::array<Micros, kPhaseCount> took{};
  Micros total{};
  JobStats stats;  ///< of the finished job, where a side still had them
  std::vector<std::string> notes;
  Exit exit() const { return error ? error->exit() : Exit::done; }
};

struct EngineOptions {
  Micros poll = std::chrono::milliseconds(500);        ///< between two looks at the statistics
  Micros first_poll = std::chrono::milliseconds(100);  ///< after the copy began
  Micros reconnect_for = std::chrono::seconds(30);     ///< how long a lost host is tried again
  Micros reconnect_pause = std::chrono::seconds(1);
  Micros settle_for = std::chrono::seconds(30);  ///< how long a side may take to make up its mind
  Micros answer_for = std::chrono::seconds(5);   ///< Perform's answer, once the guest runs again
  Micros arrive_for = std::chrono::minutes(10);  ///< a copy that goes on without its client
  /// Watch the destination over a second connection from Perform on, as evidence should the first
  /// one break around Finish.
  bool witness = true;
  /// Only to show that the checkers of the tests would notice: does what virsh does.
  bool resume_on_lost_finish_for_tests = false;
};

/// Everything a migration needs from outside. All referenced objects outlive it.
struct Engine {
  Clock& clock;
  Stop& stop;
  Observer& observer;
  EngineOptions options = {};
};

/// Moves the guest of `plan`. Failures are in the report, which always says where the guest is;
/// only bugs are thrown. `destination.host` is needed unless the plan is peer-to-peer or direct.
Task<Report> migrate(Engine engine, Plan plan, Endpoint& source, Endpoint& destination);

}  // namespace vmferry
