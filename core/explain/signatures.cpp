// The table of signatures. Texts are libvirt's and QEMU's own (their sources and logs); within one
// trouble the surest sign stands first.
#include <array>

#include "core/explain/diagnose.hpp"

namespace vmferry {

namespace {

// virErrorNumber and virErrorDomain (virterror.h)
constexpr std::int32_t kInternal = 1, kFailed = 9, kDomExist = 28, kDenied = 29, kSystem = 38,
                       kNoNetwork = 43, kNoPool = 49, kNoVolume = 50, kInvalid = 55, kConfig = 67,
                       kTimeout = 68, kUnsupportedArg = 74, kUnsafe = 81, kBlockCopy = 83,
                       kUnsupported = 84, kBusy = 87, kAccess = 88, kCpu = 91, kNoHostname = 108;

using E = ErrorId;

constexpr auto kSignatures = std::to_array<Signature>({
    // codes that mean one thing
    {E::unsafe, kUnsafe},
    {E::cpu_incompatible, kCpu},
    {E::network_missing, kNoNetwork},
    {E::pool_missing, kNoPool},
    {E::pool_missing, kNoVolume},
    {E::host_name, kNoHostname},
    {E::denied, kDenied},
    {E::denied, kAccess},
    {E::block_job, kBlockCopy},
    {E::image_locked, kBusy, 0, "lockspace resource*is locked"},
    {E::job_active, kTimeout, 0, "domainmigrate"},
    {E::busy, kTimeout, 0, "state change lock"},
    {E::busy, 0, 0, "cannot acquire state change lock"},
    {E::exists, kDomExist},
    // names and addresses
    {E::host_name, 0, 0, "hostname on destination resolved to localhost"},
    {E::host_name, 0, 0, "unable to resolve address"},
    {E::host_name, 0, 0, "failed to resolve"},
    {E::host_name, 0, 0, "address resolution failed"},
    {E::host_name, 0, 0, "name or service not known"},
    {E::host_name, 0, 0, "temporary failure in name resolution"},
    {E::host_name, 0, 0, "no address associated with hostname"},
    {E::same_host, 0, 0, "attempt to migrate guest to the same host"},
    // the way of the data, and of the source's daemon
    {E::p2p_login, kFailed, 0, "failed to connect to remote libvirt uri"},
    {E::p2p_login, 0, 0, "host key verification failed"},
    {E::data_unreachable, 0, 0, "unable to connect to server at"},
    {E::data_unreachable, 0, 0, "failed to connect to*connection refused"},
    {E::data_unreachable, 0, 0, "failed to connect to*no route to host"},
    {E::data_unreachable, 0, 0, "failed to connect to*connection timed out"},
    {E::data_unreachable, 0, 0, "failed to connect to*network is unreachable"},
    {E::data_unreachable, 0, 0, "failed to connect to '"},
    {E::ports_used, 0, 0, "unable to find an unused port in range"},
    {E::ports_used, 0, 0, "failed to bind socket*address already in use"},
    {E::ports_used, 0, 0, "failed to find an available port"},
    {E::data_lost, 0, 0, "lost connection to destination host"},
    {E::data_lost, 0, 0, "unable to write to socket: connection reset by peer"},
    {E::data_lost, 0, 0, "unable to write to socket: broken pipe"},
    {E::data_lost, 0, 0, "failed to send migration data to destination host"},
    {E::data_lost, 0, 0, "migration*input/output error"},
    // TLS
    {E::tls_forced, 0, 0, "this libvirtd instance allows migration only with tls"},
    {E::tls_setup, 0, 0, "host not configured for tls migration"},
    {E::tls_setup, 0, 0, "migrate tls directory not configured"},
    {E::tls_setup, 0, 0, "tls*certificate"},
    {E::tls_setup, 0, 0, "certificate*does not match the hostname"},
    {E::tls_setup, 0, 0, "certificate*not found"},
    {E::tls_setup, 0, 0, "x509*no such file"},
    {E::tls_setup, 0, 0, "unable to access credentials"},
    {E::tls_setup, 0, 0, "cert_dir directory*does not exist"},
    // the guest itself
    {E::snapshots, kInvalid, 0, "cannot migrate domain with*snapshots"},
    {E::snapshots, kInvalid, 0, "cannot migrate domain with*checkpoint"},
    {E::hostdev, 0, 0, "cannot migrate a domain with <hostdev"},
    {E::hostdev, 0, 0, "has assigned non-usb host devices"},
    {E::hostdev, 0, 0, "domain has assigned host devices"},
    {E::hostdev, 0, 0, "vfio*migration is not supported"},
    {E::hostdev, 0, 0, "vfio migration"},
    {E::block_job, 0, 0, "domain has active block job"},
    {E::block_job, 0, 0, "domain has an active block job"},
    {E::block_job, 0, 0, "already in active block job"},
    {E::io_paused, 0, 0, "cannot migrate domain with i/o error"},
    {E::io_paused, 0, 0, "failed due to i/o error"},
    {E::job_active, 0, 0, "another migration job is already running"},
    {E::job_active, 0, 0, "there's a migration process in progress"},
    {E::blocked, kInvalid, 0, "cannot migrate domain:"},
    {E::blocked, 0, 0, "state blocked by non-migratable device"},
    {E::blocked, 0, 0, "cannot migrate a domain with <interface"},
    {E::blocked, 0, 0, "migration with virtiofs device is not supported"},
    {E::blocked, 0, 0, "migration with transient disk is not supported"},
    {E::blocked, 0, 0, "migration of domain with shmem"},
    {E::blocked, 0, 0, "not migratable"},
    {E::blocked, 0, 0, "cannot migrate domain with"},
    {E::blocked, 0, 0, "domain is marked for auto destroy"},
    {E::exists, 0, 0, "already defined with uuid"},
    {E::exists, 0, 0, "is already defined with"},
    {E::exists, 0, 0, "is already active"},
    {E::exists, 0, 0, "already exists with uuid"},
    // disks
    {E::image_locked, 0, 0, "failed to get*lock"},
    {E::image_locked, 0, 0, "is another process using the image"},
    {E::no_space, 0, 0, "no space left on device"},
    {E::no_space, 0, 0, "not enough free space"},
    {E::image_denied, 0, 0, "cannot access storage file*permission denied"},
    {E::image_denied, 0, 0, "could not open*permission denied"},
    {E::image_missing, 0, 0, "cannot access storage file*no such file"},
    {E::image_missing, 0, 0, "could not open*no such file"},
    {E::image_missing, 0, 0, "cannot access backing file"},
    {E::image_missing, 0, 0, "unable to find*storage volume"},
    {E::pool_missing, 0, 0, "storage pool not found"},
    {E::pool_missing, 0, 0, "pool*is not active"},
    // networks
    {E::network_missing, 0, 0, "network not found"},
    {E::network_missing, 0, 0, "network*is not active"},
    {E::network_missing, 0, 0, "cannot get interface mtu on*no such device"},
    {E::network_missing, 0, 0, "unable to add bridge*port"},
    {E::network_missing, 0, 0, "failed to add tap interface to bridge"},
    // what the hypervisor can do
    {E::cpu_incompatible, 0, 0, "guest cpu doesn't match specification"},
    {E::cpu_incompatible, 0, 0, "guest cpu is not compatible with host cpu"},
    {E::cpu_incompatible, 0, 0, "the cpu is incompatible with host cpu"},
    {E::cpu_incompatible, 0, 0, "cpu features are missing"},
    {E::cpu_incompatible, 0, 0, "host doesn't support requested feature"},
    {E::feature_missing, kUnsupportedArg, 0, "migration option*is not supported by"},
    {E::feature_missing, 0, 0, "is not supported by qemu binary"},
    {E::feature_missing, 0, 0, "is not supported with this qemu binary"},
    {E::feature_missing, kUnsupported, 0, "is not supported with this qemu"},
    {E::config_unsupported, 0, 0, "unsupported machine type"},
    {E::config_unsupported, 0, 0, "does not support machine type"},
    {E::config_unsupported, 0, 0, "does not match source"},
    {E::config_unsupported, 0, 0, "unable to find any firmware"},
    {E::config_unsupported, 0, 0, "error while loading state"},
    {E::config_unsupported, 0, 0, "unknown savevm section"},
    {E::config_unsupported, 0, 0, "cannot find suitable emulator"},
    {E::config_unsupported, kConfig},
    // hosts at their end
    {E::memory_short, 0, 0, "cannot allocate memory"},
    {E::memory_short, 0, 0, "cannot set up guest memory"},
    {E::memory_short, 0, 0, "unable to map backing store for guest ram"},
    {E::hypervisor_died, 0, 0, "process exited while connecting to monitor"},
    {E::hypervisor_died, 0, 0, "qemu unexpectedly closed the monitor"},
    {E::hypervisor_died, 0, 0, "unable to read from monitor"},
    {E::hypervisor_died, 0, 0, "libxenlight failed to restore domain"},
    {E::hypervisor_died, 0, 0, "domain is not running anymore"},
    {E::hypervisor_died, kInternal, 0, "guest unexpectedly quit"},
    {E::hypervisor_died, kFailed, 0, "domain is no longer running"},
    {E::data_unreachable, kSystem, 0, "unable to connect"},
});

}  // namespace

std::span<const Signature> signatures() { return kSignatures; }

}  // namespace vmferry
