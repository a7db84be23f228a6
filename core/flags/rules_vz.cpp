// Virtuozzo: libvirt's vz driver as it is deployed (src/vz/vz_driver.c), and the stricter set with
// which migration was first proposed for it in 2015.
#include "core/flags/rules_data.hpp"

namespace vmferry::data {

namespace {

constexpr auto kAccepted =
    std::to_array<Opt>({Opt::paused, Opt::peer2peer, Opt::migrate_uri, Opt::destination_name});

constexpr std::string_view kOwnWay = "this hypervisor moves memory in its own way";
constexpr std::string_view kOwnDisks =
    "the hypervisor itself copies disks that are not shared, and only those";

constexpr auto kRules = std::to_array<Rule>({
    inherent(Opt::live, "a running guest always moves live", When::running),
    harmless(Opt::live, "a stopped guest moves as it is", When::stopped),
    harmless(Opt::paused, "a stopped guest arrives stopped", When::stopped),
    inherent(Opt::persist_dest, "a guest that arrives is registered there"),
    inherent(Opt::undefine_source, "a guest that moved is unregistered at the source"),
    inherent(Opt::non_shared_inc, kOwnDisks),
    inherent_unsent(Opt::compressed, "memory is always sent compressed", When::running),
    refuse(Opt::compressed, kInvalidArg, "a stopped guest has no memory to compress",
           When::stopped),
    refuse(Opt::tunnelled, kInvalidArg, "the hypervisors speak to each other directly"),
    refuse(Opt::non_shared_disk, kInvalidArg, kOwnDisks),
    refuse(Opt::non_shared_synchronous_writes, kInvalidArg, kOwnDisks),
    refuse(Opt::change_protection, kInvalidArg,
           "its locks are advisory: other tools may change the guest all the same"),
    refuse(Opt::unsafe, kInvalidArg, "its disks are always cache=none, there is no check to skip"),
    refuse(Opt::offline, kInvalidArg,
           "a stopped guest moves as a running one does, with its disks; the bit is not known"),
    refuse(Opt::abort_on_error, kInvalidArg, "disk errors during the move are not reported to it"),
    refuse(Opt::auto_converge, kInvalidArg, kOwnWay),
    refuse(Opt::rdma_pin_all, kInvalidArg, "the hypervisor does not use RDMA"),
    refuse(Opt::postcopy, kInvalidArg, "post-copy cannot be asked for"),
    refuse(Opt::postcopy_resume, kInvalidArg, "post-copy cannot be asked for"),
    refuse(Opt::tls, kInvalidArg, "how the hypervisors protect their data is set up on the hosts"),
    refuse(Opt::parallel, kInvalidArg, kOwnWay),
    refuse(Opt::zerocopy, kInvalidArg, kOwnWay),
    refuse(Opt::destination_xml, kOperationUnsupported, "the guest keeps its configuration"),
    refuse(Opt::persistent_xml, kArgumentUnsupported, "the guest keeps its configuration"),
    refuse(Opt::bandwidth, kOperationUnsupported, "its speed cannot be limited"),
    refuse(Opt::bandwidth_avail_switchover, kArgumentUnsupported, kOwnWay),
    refuse(Opt::graphics_uri, kArgumentUnsupported, "graphics clients are not told to move"),
    refuse(Opt::listen_address, kArgumentUnsupported,
           "the dispatcher on the destination listens where it was told to"),
    refuse(Opt::timeout_postcopy, 0, "post-copy cannot be asked for"),
});

constexpr auto kAccepted2015 =
    std::to_array<Opt>({Opt::live, Opt::compressed, Opt::paused, Opt::migrate_uri});

constexpr std::string_view kNoSense = "makes no sense for a guest that does not run";
constexpr std::string_view kOneDisk = "the hypervisor decides by itself which disks it has to copy";

constexpr auto kRules2015 = std::to_array<Rule>({
    demand(Opt::persist_dest, kInvalidArg, "this hypervisor knows no transient guests"),
    demand(Opt::live, kInvalidArg, "a running guest always moves live", When::running),
    demand(Opt::compressed, kInvalidArg, "memory is always sent compressed", When::running),
    harmless(Opt::offline, "a running guest moves with its state all the same", When::running),
    demand(Opt::offline, kInvalidArg, "the guest is not running", When::stopped),
    refuse(Opt::live, kInvalidArg, kNoSense, When::stopped),
    refuse(Opt::compressed, kInvalidArg, kNoSense, When::stopped),
    refuse(Opt::paused, kInvalidArg, kNoSense, When::stopped),
    refuse(Opt::peer2peer, kInvalidArg, "not how this hypervisor moves guests: the client leads"),
    refuse(Opt::tunnelled, kInvalidArg,
           "not how this hypervisor moves guests: the hypervisors speak to each other directly"),
    refuse(Opt::undefine_source, kInvalidArg,
           "the guest leaves the source with its definition; there is nothing to ask for"),
    refuse(Opt::non_shared_disk, kInvalidArg, kOneDisk),
    refuse(Opt::non_shared_inc, kInvalidArg, kOneDisk),
    refuse(Opt::non_shared_synchronous_writes, kInvalidArg, kOneDisk),
    refuse(Opt::change_protection, kInvalidArg,
           "its locks are advisory: other tools may change the guest all the same"),
    refuse(Opt::unsafe, kInvalidArg, "its disks are always cache=none, there is no check to skip"),
    refuse(Opt::abort_on_error, kInvalidArg, "disk errors during the move are not reported to it"),
    refuse(Opt::auto_converge, kInvalidArg, "the hypervisor has its own way to converge"),
    refuse(Opt::rdma_pin_all, kInvalidArg, "the hypervisor does not use RDMA"),
    refuse(Opt::postcopy, kInvalidArg, "the hypervisor has no post-copy"),
    refuse(Opt::postcopy_resume, kInvalidArg, "the hypervisor has no post-copy"),
    refuse(Opt::tls, kInvalidArg, "how the hypervisors protect their data is set up on the hosts"),
    refuse(Opt::parallel, kInvalidArg, "the hypervisor uses a single connection"),
    refuse(Opt::zerocopy, kInvalidArg, "memory is compressed, so it is copied first"),
    refuse(Opt::destination_name, kArgumentUnsupported, "the guest keeps its name"),
    refuse(Opt::destination_xml, kArgumentUnsupported, "the guest keeps its configuration"),
    refuse(Opt::persistent_xml, kArgumentUnsupported, "the guest keeps its configuration"),
    refuse(Opt::bandwidth, kArgumentUnsupported, "its speed cannot be limited"),
    refuse(Opt::bandwidth_avail_switchover, kArgumentUnsupported,
           "the hypervisor decides on the switch by itself"),
    refuse(Opt::graphics_uri, kArgumentUnsupported, "graphics clients are not told to move"),
    refuse(Opt::listen_address, kArgumentUnsupported,
           "the dispatcher on the destination listens where it was told to"),
    refuse(Opt::compression, kArgumentUnsupported, "the hypervisor has one way to compress"),
    refuse(Opt::timeout_postcopy, 0, "the hypervisor has no post-copy"),
});

}  // namespace

constinit const DriverRules vz{
    .name = "vz",
    .type = "vz",
    .title = "Virtuozzo through libvirt",
    .about =
        "The hypervisors move a guest among themselves; libvirt's phases frame it. Most of "
        "what other drivers let one choose is always done here.",
    .accepted = kAccepted,
    .rules = kRules,
    .otherwise = "the vz driver takes no such parameter",
    .uri = {.schemes = "vzmigr",
            .scheme_code = kArgumentUnsupported,
            .form_code = kInvalidArg,
            .bare = true,
            .form_first = true,
            .note = "vzmigr://HOST[:PORT]"},
    .habits = {.removes_source = true, .keeps_there = true, .moves_stopped = true},
    .protocols = "v3 with parameters; peer-to-peer",
    .default_ports = "the dispatcher's port",
};

constinit const DriverRules vz_2015{
    .name = "vz-2015",
    .type = "vz-2015",
    .title = "Virtuozzo as first proposed in 2015",
    .about =
        "The rules with which migration was first proposed for this driver: the flag set must "
        "say exactly what the hypervisor will do. Try them with test:///default?rules=vz-2015.",
    .accepted = kAccepted2015,
    .rules = kRules2015,
    .otherwise = "the proposal has no such parameter",
    .uri = {.schemes = "tcp",
            .scheme_code = kArgumentUnsupported,
            .form_code = kInvalidArg,
            .bare = true,
            .form_first = true,
            .note = "tcp://HOST[:PORT] and nothing else"},
    .habits = {.removes_source = true, .keeps_there = true, .offline_ignored = true},
    .protocols = "v3 with parameters",
    .default_ports = "the dispatcher's port",
};

}  // namespace vmferry::data
