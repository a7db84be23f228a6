#pragma once
// The one abstract interface that every driver implements: test (simulated), remote (any libvirt
// daemon), qmp (bare QEMU). One object is one connection to one hypervisor host.
//
//   source            client            destination
//     |<---- begin ------|                   |        describe the guest
//     |                  |---- prepare ----->|        make an incoming guest, open a listener
//     |<--- perform -----|                   |        send memory; the guest ends stopped here
//     | ~~~~~~~~~~~~~~~~ data ~~~~~~~~~~~~~> |
//     |                  |---- finish ------>|        run it there, and look that it does
//     |<--- confirm -----|                   |        end the source's copy
//
// Contract of the phases:
//  * Opaque cookies pass from each phase to the next, byte for byte; a phase that failed has none.
//  * begin takes the source's migration job; confirm releases it, and so does a failed perform.
//  * A perform that fails has resumed the guest on the source (or says that it could not).
//  * finish(cancelled) ends the incoming guest; it reports "cleaned up" by returning no domain.
//  * finish(not cancelled) that fails with an answer from the destination has ended the incoming
//    guest there. Without an answer (Error::reply_lost) nobody knows: see core/migrate.
//  * Objects passed by reference must outlive the returned Task.
//  * A lost connection fails every call under way and every later one with connect_lost.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/async/stream.hpp"
#include "core/async/task.hpp"
#include "core/flags/flag.hpp"
#include "core/flags/param.hpp"
#include "core/host/domain.hpp"

namespace vmferry {

using Cookie = Bytes;

/// Versions of the migration protocol, as libvirt numbers them.
enum class Protocol : std::uint8_t { v1, v2, v3, v3_params };

/// What a connection can do, as the host itself answers (virDrvFeature).
struct HostFeatures {
  bool v1 = false, v2 = false, v3 = false, v3_params = false;
  bool p2p = false, direct = false, offline = false, change_protection = false;
  bool xml_migratable = false;  ///< GET_XML_DESC knows the MIGRATABLE flag (v2 needs it)
  bool events = false;          ///< subscribe() works
};

/// Facts of a connection that do not change while it lasts.
struct HostIdentity {
  std::string driver;    ///< "QEMU", "Xen", "vz", "CH", "TEST", "QMP": CONNECT_GET_TYPE
  std::string uri;       ///< as the host calls itself, e.g. qemu:///system
  std::string hostname;  ///< as the host calls itself
  std::uint64_t library_version = 0;     ///< major*1000000 + minor*1000 + release
  std::uint64_t hypervisor_version = 0;  ///< same form
};

/// What a migration needs to know of a host beyond how it speaks: each of these is a question more.
struct HostNeeds {
  bool p2p = false, direct = false, offline = false;
  bool release = false;  ///< library_version
};
/// The answers. What was not needed may be missing (false, 0).
struct HostBrief {
  HostFeatures features;
  HostIdentity identity;
};

struct NodeInfo {
  std::string model;
  std::uint64_t memory_kib = 0;
  std::int32_t cpus = 0, mhz = 0, nodes = 0, sockets = 0, cores = 0, threads = 0;
};

/// What every phase is told. `params` hold migrate_uri, destination_name, destination_xml,
/// bandwidth (MiB/s) and so on; before protocol v3_params only those four can travel.
struct PhaseCall {
  Protocol protocol = Protocol::v3_params;
  DomainRef domain;
  Params params;
  FlagSet flags;
};

struct Begun {
  Cookie cookie;
  std::string xml;  ///< the guest as the destination shall make it
};
struct Prepared {
  Cookie cookie;
  std::optional<std::string> uri;  ///< where the destination listens, if it wants to say
};
/// What a tunnelled prepare gives: the stream of the guest's memory is written to `data`, whose
/// finish_writing() returns once the destination has taken all of it. Closing it before that
/// aborts.
struct Tunnel {
  Prepared prepared;
  std::unique_ptr<Stream> data;
};
struct Finished {
  std::optional<DomainRef> domain;  ///< none after finish(cancelled)
  Cookie cookie;
};
enum class Verdict : std::uint8_t { completed, cancelled };

/// A Finish call made ready beforehand, so that the guest's downtime holds only the exchange
/// itself.
using ReadyFinish = std::move_only_function<Task<Finished>(const Cookie&, Verdict)>;

enum class DefineFlags : std::uint32_t { none = 0, validate = 1 };
/// virDomainXMLFlags
inline constexpr std::uint32_t kXmlSecure = 1, kXmlInactive = 2, kXmlUpdateCpu = 4,
                               kXmlMigratable = 8;

struct ListedDomain {
  DomainRef domain;
  DomainStatus status;
};
struct FoundDomain {
  DomainRef domain;
  DomainStatus status;
  bool persistent = false;
};

/// virConnectListAllDomainsFlags. Bits of one line are alternatives; each line that has a bit set
/// must hold.
namespace listing {
inline constexpr std::uint32_t active = 1, inactive = 2,   //
    persistent = 4, transient = 8,                         //
    running = 16, paused = 32, shutoff = 64, other = 128,  //
    managed_save = 256, no_managed_save = 512,             //
    autostart = 1024, no_autostart = 2048,                 //
    snapshot = 4096, no_snapshot = 8192,                   //
    checkpoint = 16384, no_checkpoint = 32768;
}  // namespace listing

/// What is asked of a domain for people only. Empty: the host knows nothing of the kind.
struct DomainExtras {
  bool managed_save = false;
  std::string security_model, security_doi, security_label;
  bool enforcing = false;
  std::vector<std::string> messages;  ///< "tainted: …", "deprecated configuration: …"
};

/// virDomainShutdownFlagValues: how the guest is asked to shut down; 0: as the host likes.
inline constexpr std::uint32_t kShutdownAcpi = 1, kShutdownAgent = 2, kShutdownInitctl = 4,
                               kShutdownSignal = 8, kShutdownParavirt = 16;

/// Ends the subscription when destroyed.
class Subscription {
 public:
  virtual ~Subscription() = default;
};
using OnEvent = std::function<void(const DomainEvent&)>;

class Host {
 public:
  virtual ~Host() = default;

  // -- the connection ---------------------------------------------------------------------------
  virtual Task<HostFeatures> features() = 0;  ///< asked once, then remembered
  virtual Task<HostIdentity> identity() = 0;  ///< asked once, then remembered
  /// What a migration must know, in as few calls as that takes; all of it by default.
  virtual Task<HostBrief> brief(HostNeeds needs);
  virtual Task<std::string> capabilities() = 0;  ///< XML
  virtual Task<std::string> domain_capabilities(std::string emulator, std::string arch,
                                                std::string machine, std::string virttype) = 0;
  virtual Task<NodeInfo> node_info() = 0;
  virtual Task<std::uint64_t> free_memory() = 0;  ///< bytes
  /// Says goodbye where the protocol has a word for it; destroying without it is allowed.
  virtual Task<> close() = 0;
  virtual bool lost() const = 0;  ///< the connection is gone; only a new one helps

  // -- domains ----------------------------------------------------------------------------------
  /// By id (digits), UUID or name, in this order, as virsh does. Errors: no_domain.
  virtual Task<DomainRef> find(std::string name_id_or_uuid) = 0;
  /// As find(), with what a migration must know of it. The reason of a state that says nothing
  /// special may be missing (0) unless `reason` is asked for.
  virtual Task<FoundDomain> look_up(std::string name_id_or_uuid, bool reason);
  virtual Task<std::vector<ListedDomain>> list(bool active, bool inactive) = 0;
  /// By bits of namespace listing. A host that does not say otherwise has no managed saves,
  /// snapshots or checkpoints. Errors: unsupported for bits that are not known.
  virtual Task<std::vector<ListedDomain>> list_matching(std::uint32_t flags);
  virtual Task<bool> has_managed_save(const DomainRef& domain);
  virtual Task<DomainExtras> extras(const DomainRef& domain);
  virtual Task<DomainStatus> status(const DomainRef& domain) = 0;  ///< Errors: no_domain
  virtual Task<DomainInfo> info(const DomainRef& domain) = 0;
  virtual Task<bool> is_persistent(const DomainRef& domain) = 0;
  virtual Task<bool> autostart(const DomainRef& domain) = 0;
  /// Errors: unsupported where hosts do not start guests by themselves.
  virtual Task<> set_autostart(const DomainRef& domain, bool on);
  virtual Task<std::string> dump_xml(const DomainRef& domain, std::uint32_t xml_flags) = 0;
  virtual Task<DomainRef> define(std::string xml, DefineFlags flags) = 0;
  virtual Task<> undefine(const DomainRef& domain,
                          std::uint32_t flags) = 0;  ///< virDomainUndefineFlags
  virtual Task<> start(const DomainRef& domain, std::uint32_t flags) = 0;  ///< virDomainCreateFlags
  virtual Task<> suspend(const DomainRef& domain) = 0;
  virtual Task<> resume(const DomainRef& domain) = 0;
  virtual Task<> shutdown(const DomainRef& domain) = 0;
  /// By some of kShutdownAcpi and so on. Errors: unsupported where the host has no choice.
  virtual Task<> shutdown_by(const DomainRef& domain, std::uint32_t modes);
  virtual Task<> destroy(const DomainRef& domain, std::uint32_t flags) = 0;

  // -- jobs -------------------------------------------------------------------------------------
  virtual Task<JobStats> job_stats(const DomainRef& domain, bool completed, bool keep = false) = 0;
  virtual Task<> abort_job(const DomainRef& domain, bool postcopy) = 0;
  virtual Task<> set_max_downtime(const DomainRef& domain, std::uint64_t ms) = 0;
  virtual Task<std::uint64_t> max_downtime(const DomainRef& domain) = 0;
  virtual Task<> set_max_speed(const DomainRef& domain, std::uint64_t mib_per_s, bool postcopy) = 0;
  virtual Task<std::uint64_t> max_speed(const DomainRef& domain, bool postcopy) = 0;
  virtual Task<> set_compression_cache(const DomainRef& domain, std::uint64_t bytes) = 0;
  virtual Task<std::uint64_t> compression_cache(const DomainRef& domain) = 0;
  virtual Task<> start_postcopy(const DomainRef& domain) = 0;
  /// Events of that domain, of every one when its UUID is zero, until the subscription ends.
  /// Errors: unsupported when the host has none.
  virtual Task<std::unique_ptr<Subscription>> subscribe(const DomainRef& domain, OnEvent on) = 0;

  // -- the phases -------------------------------------------------------------------------------
  virtual Task<Begun> begin(const PhaseCall& call) = 0;
  virtual Task<Prepared> prepare(const PhaseCall& call, const Cookie& cookie) = 0;
  /// Blocks for the whole copy. `dconnuri` set: peer-to-peer, the source drives the rest itself.
  virtual Task<Cookie> perform(const PhaseCall& call, const Cookie& cookie,
                               std::optional<std::string> dconnuri) = 0;
  virtual Task<Finished> finish(const PhaseCall& call, const Cookie& cookie, Verdict verdict) = 0;
  virtual Task<> confirm(const PhaseCall& call, const Cookie& cookie, Verdict verdict) = 0;

  /// As prepare(), for data that comes through this connection. Errors: unsupported as well.
  virtual Task<Tunnel> prepare_tunnel(const PhaseCall& call, const Cookie& cookie);

  /// finish() with everything but the cookie made ready. `call` is copied. Whoever asks in this way
  /// then asks for the guest's status(), to which the driver may leave the rest of its watch over
  /// it.
  virtual ReadyFinish ready_finish(const PhaseCall& call);

  /// What a driver's own durable record says of a migration that this host was the destination of:
  /// whether the guest was ever started here. None: no record is kept (stock libvirt daemons).
  virtual Task<std::optional<bool>> ever_started(const DomainRef& domain, const Cookie& begun);
};

}  // namespace vmferry
