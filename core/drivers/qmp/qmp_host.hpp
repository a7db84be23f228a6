#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/drivers/qmp/conflicts.hpp"
#include "core/drivers/qmp/cookie.hpp"
#include "core/drivers/qmp/copy.hpp"
#include "core/drivers/qmp/qmp.hpp"
#include "core/drivers/qmp/store.hpp"
#include "core/drivers/qmp/tunnel.hpp"
#include "core/qmp/client.hpp"

namespace vmferry::qmp {

/// A process to be started.
struct NewProcess {
  std::string name;
  Uuid uuid;
  std::string xml;
  Words argv;
  Words started_as;  ///< what is started in its place, if sockets need other names; or empty
  Fd memory;         ///< shared RAM, or none: QEMU makes its own
  std::uint64_t shared_ram = 0;
  bool taken_over = false;  ///< memory of the running source is in it
  bool whole = false;       ///< all of its memory is
  Stage stage = Stage::active;
  std::string migration;
  bool transient = false;
  bool same_kernel = false;  ///< the source is on this machine
  /// The memory is that of another process, but what this one writes to it stays its own.
  bool private_view = false;
  /// Values of -incoming, instead of "defer". Then QEMU does not greet before a guest comes, and
  /// the monitor is not opened.
  Words channels;
  std::vector<Fd> inherited;  ///< further descriptors, which the command line names by number
  std::string directory = "/";
  std::string pid_file;
  std::vector<std::pair<std::string, std::string>> renames;  ///< as of Instance
  std::vector<Afterwards> afterwards;
  std::vector<std::string> made;  ///< images: removed with it, if it never ran
};

/// A guest that was let run. A short watch over it follows; its length is part of the promise.
struct Went {
  Micros resumed{};  ///< QEMU's wall clock
  Micros at{};       ///< our clock
  Cursor after;      ///< the events that came later
};
inline constexpr Micros kWatch = std::chrono::milliseconds(10);

/// An open monitor of a process. Held as long as the host object lives.
struct Monitor {
  std::shared_ptr<Client> client;
  Fd lock;
};

class QmpHost final : public Host {
 public:
  QmpHost(std::string uri, Store store, QmpEnvironment environment);
  ~QmpHost() override;

  Task<HostFeatures> features() override;
  Task<HostIdentity> identity() override;
  Task<std::string> capabilities() override;
  Task<std::string> domain_capabilities(std::string emulator, std::string arch, std::string machine,
                                        std::string virttype) override;
  Task<NodeInfo> node_info() override;
  Task<std::uint64_t> free_memory() override;
  Task<> close() override;
  bool lost() const override { return false; }

  Task<DomainRef> find(std::string name_id_or_uuid) override;
  Task<std::vector<ListedDomain>> list(bool active, bool inactive) override;
  Task<DomainStatus> status(const DomainRef& domain) override;
  Task<DomainInfo> info(const DomainRef& domain) override;
  Task<bool> is_persistent(const DomainRef& domain) override;
  Task<bool> autostart(const DomainRef& domain) override;
  Task<std::string> dump_xml(const DomainRef& domain, std::uint32_t xml_flags) override;
  Task<DomainRef> define(std::string xml, DefineFlags flags) override;
  Task<> undefine(const DomainRef& domain, std::uint32_t flags) override;
  Task<> start(const DomainRef& domain, std::uint32_t flags) override;
  Task<> suspend(const DomainRef& domain) override;
  Task<> resume(const DomainRef& domain) override;
  Task<> shutdown(const DomainRef& domain) override;
  Task<> destroy(const DomainRef& domain, std::uint32_t flags) override;

  Task<JobStats> job_stats(const DomainRef& domain, bool completed, bool keep) override;
  Task<> abort_job(const DomainRef& domain, bool postcopy) override;
  Task<> set_max_downtime(const DomainRef& domain, std::uint64_t ms) override;
  Task<std::uint64_t> max_downtime(const DomainRef& domain) override;
  Task<> set_max_speed(const DomainRef& domain, std::uint64_t mib_per_s, bool postcopy) override;
  Task<std::uint64_t> max_speed(const DomainRef& domain, bool postcopy) override;
  Task<> set_compression_cache(const DomainRef& domain, std::uint64_t bytes) override;
  Task<std::uint64_t> compression_cache(const DomainRef& domain) override;
  Task<> start_postcopy(const DomainRef& domain) override;
  Task<std::unique_ptr<Subscription>> subscribe(const DomainRef& domain, OnEvent on) override;

  Task<Begun> begin(const PhaseCall& call) override;
  Task<Prepared> prepare(const PhaseCall& call, const Cookie& cookie) override;
  Task<Tunnel> prepare_tunnel(const PhaseCall& call, const Cookie& cookie) override;
  Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                       std::optional<std::string> dconnuri) override;
  Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  ReadyFinish ready_finish(const PhaseCall& call) override;
  Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) override;
  Task<std::optional<bool>> ever_started(const DomainRef& domain, const Cookie& begun) override;

  // -- for the driver's own operations ----------------------------------------------------------
  Store& store() { return store_; }
  Clock& clock() { return env_.clock; }
  Task<std::unique_ptr<Stream>> dial(std::string path) { return env_.dial(std::move(path)); }
  void notice(const std::string& text) const { env_.notice(text); }
  /// The process that is this domain, or nothing. An incoming one only if there is no other.
  std::optional<Instance> instance(const Uuid& uuid) const;
  /// By UUID; by name when that is all that the protocol carries (Finish).
  std::optional<Instance> incoming(const DomainRef& domain) const;
  std::optional<Instance> by_migration(const std::string& migration) const;
  Instance active(const DomainRef& domain) const;  ///< Errors: no_domain, invalid_state
  /// A monitor of it, opened if need be. Errors: busy, connect_failed.
  Task<std::shared_ptr<Client>> monitor(const Instance& instance);
  void drop_monitor(const Instance& instance);
  /// Starts QEMU, stopped, and opens its monitor. What QEMU printed is in the error if it ends.
  Task<Instance> launch(NewProcess process, bool incoming);
  /// Ends the process and removes what belongs to it.
  Task<> end(Instance instance);
  /// Lets an incoming guest run. Errors: as Host::finish; `reply_lost` says whether it may have
  /// run.
  Task<Went> let_run(Instance& instance);
  /// Waits out the watch time. Errors: guest_lost.
  Task<> watch(const Instance& instance, Went went);
  Task<Went> let_in(Instance& instance, const PhaseCall& call, bool watch_later);
  /// Gives it the names that it shares with a process which is gone, or has stepped aside: sockets,
  /// VNC port, pid file. Returns what did not work; sentences.
  Task<std::vector<std::string>> take_names(Instance& instance);
  Task<std::vector<std::string>> run_afterwards(const Instance& instance);

 private:
  struct SourceJob {
    Fd lock;
    std::string migration;
    bool was_running = false;
    Capabilities known = {};    ///< to its QEMU
    bool loses_writes = false;  ///< as of loses_writes()
    std::vector<DiskToCopy> disks = {};
    bool resume = false;              ///< a broken post-copy goes on
    bool aside = false;               ///< its VNC port was given up for the other process
    std::optional<Cursor> told = {};  ///< its graphics clients were told; events from then on
  };
  struct Arrival {
    Fd lock;
    std::string migration;
    bool ends_with_us = false;  ///< nobody but our client can let it run, or take it back
    bool whole = false;         ///< all of its memory is that of the source's process
    bool seen_next = false;     ///< whoever asks for Finish then asks for its status
  };
  /// One that runs since a moment ago.
  struct Beginner {
    Instance instance;
    Went went;
  };
  struct Watching;    // a subscription's loop
  struct Everywhere;  // a subscription to all domains
  Task<std::unique_ptr<Subscription>> watch_events(const Instance& instance, DomainRef domain,
                                                   OnEvent on);
  Task<> watch_too(Everywhere& all, const Instance& instance);
  Task<> came_up(const Instance& instance);
  Task<std::shared_ptr<Client>> connect(const Instance& instance);
  Task<Monitor> try_monitor(const Instance& instance, bool& silent);
  Task<DomainStatus> status_of(const Instance& instance);
  Task<std::string> listen(Client& client, const PhaseCall& call, const Offer& offer,
                           const Instance& instance, std::string command);
  Task<std::string> open_door(const Instance& instance, const PhaseCall& call, const Offer& offer,
                              Reply& reply);
  Task<> open_disks(Client& client, const Instance& instance, const PhaseCall& call,
                    const Offer& offer, Reply& reply);
  Task<Finished> finish_resume(const PhaseCall& call, const Cookie& cookie, Verdict verdict);
  Task<Finished> finish_offline(const PhaseCall& call, Verdict verdict);
  Task<> redirect_clients(Client& client, const PhaseCall& call, const Reply& reply,
                          SourceJob& job);
  Task<> release(const DomainRef& domain);
  Task<> check_broken(const Instance& instance);
  static Mirrors mirrors_for(const PhaseCall& call, const SourceJob& job, const Reply& reply);
  static CopyPlan plan_copy(const PhaseCall& call, const SourceJob& job, const Reply& reply,
                            const Instance& instance);
  Task<Cookie> perform_here(const PhaseCall& call, const Cookie& cookie,
                            std::unique_ptr<Stream> tunnel);
  /// When a QEMU that has ended had stopped its guest for good: it may have sent all of it. Nothing
  /// if it let it run again, or gave up.
  Task<std::optional<Micros>> ended_standing_still(Client& client, Cursor from, ProcessId process,
                                                   bool ran);
  Task<Event> settle_silence(Client& client, Cursor before, const Instance& instance, Error why);
  Task<> perform_p2p(PhaseCall call, const std::string& dconnuri);
  Task<CopyOutcome> send_guest(Client& client, const CopyPlan& plan, const Instance& instance,
                               std::unique_ptr<Stream> tunnel);
  Task<> all_was_sent(const Instance& instance);
  Task<Prepared> prepare_resume(const PhaseCall& call, const Offer& offer);
  Task<> all_has_come(Instance& instance);
  Task<> keep_definition(const PhaseCall& call, Instance& instance);
  NewProcess arriving(const PhaseCall& call, const Offer& offer);
  void place_beside(NewProcess& process, const Offer& offer, bool private_ram);
  void abandon_arrivals() noexcept;
  Task<> step_aside(const Instance& instance, bool aside);
  void check_arrival(const Definition& arriving) const;
  Task<> set_parameters(const DomainRef& domain, Json parameters);
  Task<Json> parameters(const DomainRef& domain);

  std::string uri_;
  Store store_;
  QmpEnvironment env_;
  std::map<std::string, Monitor> monitors_;  // by directory of the instance
  std::map<Uuid, SourceJob> jobs_;
  std::map<Uuid, Arrival> arrivals_;    // domains that come in
  std::map<Uuid, Beginner> beginners_;  // domains whose watch goes on
  std::map<Uuid, JobStats> completed_;
  std::vector<std::weak_ptr<Everywhere>> everywhere_;
};

/// The incoming state is there, whole. Errors: migrate_failed, timed_out.
Task<> arrived(Client& client, Clock& clock);
/// What the end of a log says, from a position in it.
std::string last_words(const std::string& log, std::size_t from);
std::size_t size_of(const std::string& path);
/// The type that QEMU made of the machine: "pc-i440fx-7.2" for "pc".
Task<std::string> real_machine(Client& client);
DomainRef ref(const Instance& instance);
std::string text_param(const PhaseCall& call, std::string_view field);
/// The host that open_qmp made. Errors: unsupported.
QmpHost& as_qmp(Host& host);

}  // namespace vmferry::qmp
