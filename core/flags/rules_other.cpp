// OpenVZ containers, ESX, and the drivers that have no migration at all.
#include "core/flags/rules_data.hpp"

namespace vmferry::data {

namespace {

constexpr std::string_view kTool =
    "the work is done by the vzmigrate tool, which has no such choice";
constexpr std::string_view kVcenter = "vCenter does it by its own means";

constexpr auto kOpenvzAccepted =
    std::to_array<Opt>({Opt::live, Opt::migrate_uri, Opt::destination_xml});
constexpr auto kOpenvzRules = std::to_array<Rule>({
    refuse(Opt::live, kOperationInvalid, "the container is not running", When::stopped),
    inherent_unsent(Opt::persist_dest, "a container that arrives is registered there"),
    inherent_unsent(Opt::undefine_source, "vzmigrate removes the container from the source"),
    inherent_unsent(Opt::non_shared_disk, "vzmigrate copies the container's files"),
    refuse(Opt::peer2peer, kInvalidArg, "this driver is not driven by the source's daemon"),
    refuse(Opt::tunnelled, kInvalidArg, "vzmigrate goes over its own ssh connection"),
    refuse(Opt::paused, kInvalidArg, "vzmigrate always lets the container go on"),
    refuse(Opt::offline, kInvalidArg, "this driver moves running containers only"),
    refuse(Opt::destination_name, kOperationFailed,
           "the container arrives with its old name, and the driver then misses the new one"),
    refuse(Opt::bandwidth, kArgumentUnsupported, "vzmigrate cannot limit its speed"),
    refuse(Opt::tls, kInvalidArg, "vzmigrate goes over ssh, which is encrypted already"),
    refuse(Opt::timeout_postcopy, 0, "there is no post-copy"),
    refuse(Opt::timeout_abort, 0, "this driver cannot abort a migration"),
});

constexpr auto kEsxAccepted = std::to_array<Opt>({Opt::migrate_uri});
constexpr auto kEsxRules = std::to_array<Rule>({
    inherent(Opt::live, "vMotion moves a running guest live, a stopped one as it is"),
    refuse(Opt::paused, 0, "the driver takes the flag and forgets it: the guest stays as it is"),
    inherent(Opt::persist_dest, "vCenter registers the guest on the destination"),
    inherent(Opt::undefine_source, "vCenter unregisters it at the source"),
    refuse(Opt::destination_name, kInvalidArg, "vMotion does not rename"),
    refuse(Opt::bandwidth, 0,
           "vMotion's speed cannot be limited from here, and the driver does not say so"),
});

}  // namespace

constinit const DriverRules openvz{
    .name = "openvz",
    .type = "openvz",
    .title = "OpenVZ containers through libvirt",
    .about = "Containers, moved by the vzmigrate tool over ssh.",
    .accepted = kOpenvzAccepted,
    .rules = kOpenvzRules,
    .otherwise = kTool,
    .uri = {.schemes = "ssh",
            .scheme_code = kInvalidArg,
            .form_code = kInvalidArg,
            .note = "ssh://HOST"},
    .habits = {.live = true, .removes_source = true, .keeps_there = true},
    .protocols = "v3 with parameters",
    .default_ports = "ssh",
    .inactive = "this driver moves running containers only",
    .paused = "this driver moves running containers only",
};

constinit const DriverRules esx{
    .name = "esx",
    .type = "esx",
    .title = "VMware ESX",
    .about =
        "vMotion through vCenter. libvirt does this inside its client library; there is no "
        "daemon that could be spoken to.",
    .cannot =
        "ESX is driven inside libvirt's own client library, no daemon offers it; use virsh "
        "with a vpx:// connection",
    .accepted = kEsxAccepted,
    .rules = kEsxRules,
    .otherwise = kVcenter,
    .uri = {.schemes = "vpxmigr",
            .scheme_code = kInvalidArg,
            .form_code = kInvalidArg,
            .note = "vpxmigr://VCENTER/RESOURCE-POOL/HOST-SYSTEM"},
    .habits = {.live = true, .removes_source = true, .keeps_there = true},
    .protocols = "v1, in libvirt's client only",
    .default_ports = "vMotion's",
};

constinit const DriverRules ch{
    .name = "ch",
    .type = "ch",
    .title = "Cloud Hypervisor through libvirt",
    .about = "libvirt's ch driver has no migration up to 11.3, though the hypervisor itself has.",
    .cannot = "libvirt's ch driver has no migration (up to 11.3)",
    .otherwise = "this driver has no migration",
};

constinit const DriverRules other{
    .name = "other",
    .type = "",
    .title = "any other libvirt driver (lxc, bhyve, vbox, vmware, hyperv, …)",
    .about = "These have no migration.",
    .cannot = "this driver has no migration",
    .otherwise = "this driver has no migration",
};

}  // namespace vmferry::data
