#pragma once
// Several simulated hosts, the links between them, and everything that happens there. One thread;
// all state changes are synchronous, so that whoever looks between two awaits sees a whole world.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/async/signal.hpp"
#include "core/drivers/test/guest.hpp"
#include "core/drivers/test/network.hpp"
#include "core/flags/rules.hpp"
#include "core/host/open.hpp"

namespace vmferry::sim {

struct Network {
  std::string name;
  bool active = true;
};

struct HostSpec {
  std::string name;
  std::string driver = "test";  ///< whose rules it follows
  std::string cpu_model = "Skylake-Server";
  std::string address;  ///< where other processes reach it for data; empty: as the network says
  std::uint64_t memory_kib = std::uint64_t{64} << 20;
  std::int32_t cpus = 16, cells = 2;
  std::vector<Network> networks{{"default", true}};
  std::string storage = "shared";  ///< hosts with the same storage see the same disks
  std::uint8_t lowest = 1, highest = kDataVersion;  ///< versions of the data format
  bool record = true;  ///< keeps a durable record of what was started here
  bool events = true, statistics = true;
  Protocol protocol = Protocol::v3_params;  ///< the newest that its daemon speaks
  std::vector<std::string> guests;          ///< domain XML
  std::vector<bool> started;
};

/// Between any two hosts unless said otherwise.
struct Link {
  Micros latency = std::chrono::microseconds(200);
  std::uint64_t bytes_per_s = std::uint64_t{400} << 20;         ///< all streams together
  std::uint64_t stream_bytes_per_s = std::uint64_t{250} << 20;  ///< what one connection reaches
  bool up = true;
};

struct WorldSpec {
  std::vector<HostSpec> hosts;
  Link link;
  std::uint64_t seed = 1;
};
/// `<world>` XML, see the example in share/examples/world.xml. Errors: xml.
Result<WorldSpec> parse_world(std::string_view text);
/// What test:///default has: hosts "default" and "other", and some guests.
WorldSpec default_world();

struct Subscriber {
  Uuid uuid;
  bool any = false;
  std::shared_ptr<const bool> connected;
  OnEvent on;
};

/// One hypervisor host and its daemon.
struct HostState {
  HostSpec spec;
  const DriverRules* rules = nullptr;
  std::map<Uuid, std::shared_ptr<Guest>> guests;
  std::unordered_multimap<std::string, Uuid> names;  ///< of all guests, and of some that were
  std::vector<std::weak_ptr<Subscriber>> subscribers;
  std::map<MigrationId, bool> record;  ///< durable: whether an incoming guest was ever started
  std::int32_t next_id = 1;
  std::uint64_t incarnation = 1;  ///< of the daemon
  std::uint16_t next_port = 49152;

  std::shared_ptr<Guest> named(const std::string& name) const;  ///< null: there is none
  /// Takes the guest in, or gives it another name.
  void take(const std::shared_ptr<Guest>& guest, std::string name);
};

class World : public std::enable_shared_from_this<World> {
 public:
  /// `clock` outlives the world.
  static std::shared_ptr<World> make(Clock& clock, WorldSpec spec);

  Clock& clock() { return clock_; }
  Micros now() const { return clock_.now(); }
  const Link& link() const { return spec_.link; }
  Link& link() { return spec_.link; }
  std::uint64_t seed() const { return spec_.seed; }
  double speed = 1;  ///< simulated seconds per second, for the time that copies take
  Opener opener;     ///< for a peer-to-peer migration to a host of another world
  std::shared_ptr<DataNetwork> network;  ///< to other processes; null: there are none
  /// Stands between the daemons, where a test wants to: from which host, to which URI.
  std::function<Task<std::unique_ptr<Host>>(std::string from, std::string uri)> peer_opener;
  Micros work{};  ///< what a daemon needs for the slow part of a phase

  HostState* host(const std::string& name);
  const std::map<std::string, std::unique_ptr<HostState>>& hosts() const { return hosts_; }
  HostState& add_host(HostSpec spec);
  std::uint64_t random() { return mix(spec_.seed ^ ++drawn_ * 0x9e3779b97f4a7c15); }
  MigrationId new_id();
  std::uint64_t new_connection() { return ++connections_; }

  /// A new connection to that host. Errors: connect_failed.
  std::unique_ptr<Host> connect(const std::string& name, std::string uri = {});

  // -- what happens to guests ---------------------------------------------------------------------
  /// Lets the CPUs execute what is due by now.
  void advance(Guest& guest);
  void run(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail);
  void pause(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail);
  /// The process ends. A transient domain is gone afterwards.
  void stop(HostState& host, Guest& guest, std::int32_t reason, std::int32_t detail);
  void boot(HostState& host, Guest& guest, bool paused);
  void emit(HostState& host, const DomainEvent& event);
  void emit_lifecycle(HostState& host, const Guest& guest, std::int32_t event, std::int32_t detail);
  void forget(HostState& host, Guest& guest);  ///< when it is neither active nor persistent
  /// Whatever there is of an incoming guest goes; a definition that was there before is back.
  void end_incoming(HostState& host, const std::shared_ptr<Guest>& guest);

  // -- incoming data ------------------------------------------------------------------------------
  std::string listen(HostState& host, const std::shared_ptr<Guest>& guest, std::string scheme,
                     std::string address, std::uint16_t port);
  /// At an address that is known to be free.
  void listen_at(HostState& host, const std::shared_ptr<Guest>& guest, const std::string& uri);
  /// Whether a guest of this process is on its way under that id.
  bool leaves(const MigrationId& id) const;
  /// The host and guest that listen there, or null.
  std::pair<HostState*, std::shared_ptr<Guest>> listener(const std::string& uri);
  void unlisten(const std::string& uri) { listeners_.erase(uri); }
  std::size_t listening() const { return listeners_.size(); }
  bool listens_for_nobody() const;  ///< the guest that was to come there is gone, or has come

  // -- faults -------------------------------------------------------------------------------------
  void connection_closed(HostState& host, std::uint64_t connection);
  /// Nobody attends to the guest's migration any more.
  static void drop_job(Guest& guest);
  void crash_daemon(const std::string& host);                  ///< and restart it: guests live on
  void kill_guest(const std::string& host, const Uuid& uuid);  ///< its hypervisor process

  // -- for checkers -------------------------------------------------------------------------------
  int executing(const Uuid& uuid) const;
  /// Whether the copy on `host` holds exactly what the guest's CPUs have written, and is not older
  /// than what was executed anywhere.
  bool memory_exact(const std::string& host, const Uuid& uuid);
  std::uint64_t executed(const Uuid& uuid) const;
  bool stale_execution = false;  ///< a copy executed after another had gone further

 private:
  World(Clock& clock, WorldSpec spec) : clock_(clock), spec_(std::move(spec)) {}
  Clock& clock_;
  WorldSpec spec_;
  std::map<std::string, std::unique_ptr<HostState>> hosts_;
  std::map<std::string, std::pair<HostState*, std::weak_ptr<Guest>>> listeners_;
  std::map<Uuid, std::uint64_t> executed_;  ///< writes ever executed, by UUID
  std::uint64_t drawn_ = 0, connections_ = 0;
};

}  // namespace vmferry::sim
