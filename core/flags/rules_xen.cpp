// libvirt's libxl driver (src/libxl/libxl_migration.c): LIBXL_MIGRATION_FLAGS and _PARAMETERS.
#include "core/flags/rules_data.hpp"

namespace vmferry::data {

namespace {

constexpr auto kAccepted =
    std::to_array<Opt>({Opt::live, Opt::peer2peer, Opt::tunnelled, Opt::persist_dest,
                        Opt::undefine_source, Opt::paused, Opt::change_protection, Opt::migrate_uri,
                        Opt::destination_name, Opt::destination_xml});

constexpr std::string_view kNoStorage =
    "Xen moves memory only, disks must be shared (or replicated beneath it)";
constexpr std::string_view kOwnStream = "Xen's toolstack sends memory its own way";
constexpr std::string_view kNoLimit = "Xen's toolstack cannot limit its speed";

constexpr auto kRules = std::to_array<Rule>({
    refuse(Opt::live, kOperationInvalid, "the domain is not running", When::stopped),
    refuse(Opt::non_shared_disk, kInvalidArg, kNoStorage),
    refuse(Opt::non_shared_inc, kInvalidArg, kNoStorage),
    refuse(Opt::non_shared_synchronous_writes, kInvalidArg, kNoStorage),
    refuse(Opt::unsafe, kInvalidArg, "this driver makes no safety check that could be skipped"),
    refuse(Opt::offline, kInvalidArg,
           "this driver moves running domains only; define the domain's XML there instead"),
    refuse(Opt::compressed, kInvalidArg, "Xen's migration stream knows no compression"),
    refuse(Opt::abort_on_error, kInvalidArg, "this driver does not watch for disk errors"),
    refuse(Opt::auto_converge, kInvalidArg,
           "Xen does not slow its guests down; it stops them for "
           "the last pass after a fixed number of passes"),
    refuse(Opt::rdma_pin_all, kInvalidArg, kOwnStream),
    refuse(Opt::postcopy, kInvalidArg, "Xen has no post-copy"),
    refuse(Opt::postcopy_resume, kInvalidArg, "Xen has no post-copy"),
    refuse(Opt::tls, kInvalidArg,
           "Xen's stream cannot be encrypted; --p2p --tunnelled over an encrypted connection can"),
    refuse(Opt::parallel, kInvalidArg, "Xen's stream is a single connection"),
    refuse(Opt::zerocopy, kInvalidArg, kOwnStream),
    refuse(Opt::bandwidth, kArgumentUnsupported, kNoLimit),
    refuse(Opt::bandwidth_avail_switchover, kArgumentUnsupported,
           "Xen decides on the switch by the number of passes"),
    refuse(Opt::persistent_xml, kArgumentUnsupported,
           "this driver keeps the definition that arrives; use --xml"),
    refuse(Opt::graphics_uri, kArgumentUnsupported, "Xen's graphics clients are not told to move"),
    refuse(Opt::listen_address, kArgumentUnsupported,
           "the destination listens on the address in --migrateuri"),
    refuse(Opt::timeout_postcopy, 0, "Xen has no post-copy"),
    refuse(Opt::timeout_abort, 0,
           "this driver cannot abort a migration; it goes on, and Xen ends it after a few passes"),
});

}  // namespace

constinit const DriverRules xen{
    .name = "xen",
    .type = "xen",
    .title = "Xen through libvirt (libxl)",
    .about =
        "Moves running domains. It cannot be aborted and reports no progress; a client that "
        "dies in between leaves both sides locked until their daemons restart. "
        "--change-protection exists where the host says so (not in libvirt 9.0).",
    .accepted = kAccepted,
    .rules = kRules,
    .otherwise = "libxl takes no such parameter",
    // Whatever does not begin with tcp:// is put behind it, and then is no host that can be
    // listened on (libxlDomainMigrationDstPrepare).
    .uri = {.schemes = "tcp",
            .scheme_code = kOperationFailed,
            .form_code = kInvalidArg,
            .slashes = true,
            .note = "tcp://HOST[:PORT]"},
    .habits = {.live = true, .keep = true},
    .protocols = "v3 with parameters; peer-to-peer, tunnelled",
    .default_ports = "49152-49216",
    .inactive = "Xen moves running domains only",
    .departs = {.no_abort = "this driver can neither abort a migration nor suspend a guest that "
                            "moves, and Xen ends the copy after a few passes by itself",
                .confirm_frees = true,
                .hides_standstill = true,
                .outlives_client = true},
};

}  // namespace vmferry::data
