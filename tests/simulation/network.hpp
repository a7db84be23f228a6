#pragma once
// What lies between the client and the simulated daemons, and between these: calls take time, every
// call sent and every reply received is a numbered step, and faults strike at steps.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/async/signal.hpp"
#include "core/async/sim_clock.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

/// Where a fault has a strong form, `late` asks for it (in parentheses).
enum class FaultKind : std::uint8_t {
  cut_source,       ///< the client's connections to that host break (the request still arrives)
  cut_destination,  ///< (the same)
  cut_peer,         ///< connections between the daemons break (the same)
  crash_source,     ///< the daemon is killed and starts again at once
  crash_destination,
  stop_source,       ///< the daemon is killed and is away for 10 s (120 s)
  stop_destination,  ///< (the same)
  kill_source,       ///< the guest's process there
  kill_destination,
  cut_data,          ///< the hosts' migration streams break and stay broken
  split,             ///< nothing goes between the hosts for 5 s (120 s)
  slow_source,       ///< every call there takes 2 s (25 s) longer from now on
  slow_destination,  ///< (the same)
  full_destination,  ///< no memory is left there (and the incoming guest is killed for it)
  cancel,            ///< Ctrl-C
  kill_client,       ///< SIGKILL (what it had sent still arrives)
};
inline constexpr int kFaultKinds = 16;
std::string_view name(FaultKind kind);

/// Known wrong behaviour, which the judge must find.
enum class Wrong : std::uint8_t {
  none,
  as_virsh,       ///< the engine resumes the source when Finish's answer is lost
  unnoticed,      ///< the daemons do not notice when a client's connection ends
  half_made,      ///< a cancelled Finish is answered, and nothing is ended, then or later
  open_port,      ///< after Finish the destination still listens
  bad_memory,     ///< a bit of the guest's memory changes on its way
  says_done,      ///< whatever came of it, the user is told that the guest moved
  says_at_home,   ///< … that it failed, and the guest runs at the source
  says_lost,      ///< … that the guest died
  says_unlooked,  ///< … that it is safe at the source, which nobody has looked at
};
inline constexpr int kWrongs = 10;
std::string_view name(Wrong wrong);

struct Fault {
  int step = 0;
  FaultKind kind = FaultKind::cancel;
  bool late = false;
};

/// Who makes a connection: the client (host empty) or a host's daemon, and which life of it.
struct Party {
  std::string host;
  int life = 0;
};

struct Connection;

class Net {
 public:
  Net(SimClock& clock, Executor ex, std::shared_ptr<World> world, Uuid uuid)
      : clock_(clock), ex_(std::move(ex)), world_(std::move(world)), uuid_(uuid) {}

  std::vector<Fault> faults;
  std::function<void()> on_cancel;
  std::function<void()> on_kill_client;
  std::vector<std::string> log;  ///< kept when `verbose`
  bool verbose = false;
  bool jitter = false;  ///< every message has its own delay, up to 40 times the usual one
  Wrong wrong = Wrong::none;

  void step(std::string_view what, std::string_view way, const Connection& link);
  void step(std::string_view what);
  void say(std::string text);  ///< into the log
  int steps() const { return steps_; }
  bool hypervisor_killed() const { return hypervisor_killed_; }
  /// Whether the process was killed after that host had last said something that was heard.
  bool killed_unseen(const std::string& host) const;
  void served(const std::string& host, std::string_view what, Micros at) {
    served_[host] = at;
    if (what == "status") looked_[host] = at;
  }
  /// Whether it was killed after the client had last looked at it there.
  bool killed_after_look(const std::string& host) const;
  /// A connection that the daemon takes for open until all is over.
  void keep(std::shared_ptr<Connection> link) { kept_.push_back(std::move(link)); }
  /// The simulated guest there, or null.
  std::shared_ptr<Guest> guest(const std::string& host) const;
  bool data_lost() const { return data_lost_; }
  const std::vector<std::string>& violations() const { return violations_; }
  void violation(std::string what);
  void look();               ///< at what must hold at every moment
  bool may_be_lost = false;  ///< in protocol versions 1 and 2 the source ends before Finish

  Party client() const { return {{}, client_life_}; }
  bool lives(const Party& party) const;
  /// A new connection, as it takes its time. Errors: connect_failed.
  Task<std::unique_ptr<Host>> open(Party party, std::string host);
  std::unique_ptr<Host> connect(Party party, const std::string& host);
  /// The client is dead: its connections are closed, a new one may begin.
  void bury_client(bool late);
  /// Everything works again, and no further fault comes.
  void heal();

  /// Runs on the daemons' side, whatever becomes of the caller.
  void spawn(Task<> task);
  int running() const { return running_; }
  SimClock& clock() { return clock_; }
  World& world() { return *world_; }
  const Executor& executor() const { return ex_; }
  static constexpr Micros latency = std::chrono::milliseconds(1);
  Micros delay();                                  ///< of the next message
  Micros slowness(const std::string& host) const;  ///< of that daemon now

 private:
  void next_step();
  void strike(const Fault& fault);
  void crash(const std::string& host, Micros away);
  template <class Match>
  void cut(Match match, bool late);
  Task<> rejoin(Micros at);  ///< the end of a split
  void cut_client(const std::string& host, bool late);
  void cut_peers(bool late);

  SimClock& clock_;
  Executor ex_;
  std::shared_ptr<World> world_;
  Uuid uuid_;
  int steps_ = 0, running_ = 0, client_life_ = 0;
  std::uint64_t messages_ = 0;
  std::map<std::string, int> lives_;
  std::map<std::string, Micros> away_until_, slowness_, served_, looked_, killed_at_;
  Micros split_until_{};
  bool hypervisor_killed_ = false, data_lost_ = false;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> kept_;
  std::vector<std::string> violations_;
};

}  // namespace vmferry::sim
