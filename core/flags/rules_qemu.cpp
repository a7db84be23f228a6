// libvirt's qemu driver (src/qemu/qemu_migration.c), and those that follow it: our own driver of
// bare QEMU processes, and the simulation.
#include "core/flags/rules_data.hpp"

namespace vmferry::data {

namespace {

constexpr auto kEverything = [] {
  std::array<Opt, kFlagCount + kParamCount> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Opt>(i);
  return all;
}();

constexpr std::string_view kStopped = "the guest is not running, only its definition moves";

constexpr auto kQemuRules = std::to_array<Rule>({
    demand(Opt::offline, kOperationInvalid, kStopped, When::stopped),
    harmless(Opt::offline, "the definition is copied; the running guest stays", When::running),
    refuse(Opt::live, kOperationInvalid, kStopped, When::stopped),
});

constexpr std::string_view kClient = "both QEMUs are driven by this client";
constexpr std::string_view kNoZeroes = "the images are copied as they are, holes included";
constexpr std::string_view kNoMt = "QEMU 9.1 has dropped compression by threads";

constexpr auto kQmpRules = std::to_array<Rule>({
    demand(Opt::offline, kOperationInvalid, kStopped, When::stopped),
    harmless(Opt::offline, "the definition is copied; the running guest stays", When::running),
    refuse(Opt::live, kOperationInvalid, kStopped, When::stopped),
    refuse(Opt::direct, kOperationUnsupported, kClient),
    refuse(Opt::tls, kOperationUnsupported, "bare QEMU has no certificates configured"),
    refuse(Opt::tls_destination, kOperationUnsupported, "bare QEMU has no certificates configured"),
    refuse(Opt::bandwidth_avail_switchover, kOperationUnsupported,
           "the speed that QEMU measures is used"),
    refuse(Opt::migrate_disks_detect_zeroes, kOperationUnsupported, kNoZeroes),
    refuse(Opt::compression_mt_level, kOperationUnsupported, kNoMt),
    refuse(Opt::compression_mt_threads, kOperationUnsupported, kNoMt),
    refuse(Opt::compression_mt_dthreads, kOperationUnsupported, kNoMt),
    refuse(Opt::rdma_pin_all, kInvalidArg, "data goes over tcp or a unix socket, not over RDMA"),
    refuse(Opt::unsafe, kInvalidArg,
           "QEMU drops its caches at the switch itself, so there is no check to skip"),
});

constexpr Habits kAsQemu{.live = true, .offline = true, .keep = true};

}  // namespace

constinit const DriverRules qemu{
    .name = "qemu",
    .type = "qemu",
    .title = "QEMU and KVM through libvirt",
    .about =
        "Takes every flag and parameter that its release knows. What a combination needs is "
        "checked by both daemons, the destination's at prepare, the source's at perform.",
    .accepted = kEverything,
    .rules = kQemuRules,
    .uri = {.schemes = "tcp rdma unix",
            .scheme_code = kArgumentUnsupported,
            .form_code = kInvalidArg,
            .note = "tcp://HOST[:PORT], rdma://HOST[:PORT], unix:///PATH"},
    .habits = kAsQemu,
    .protocols = "v2, v3, v3 with parameters; peer-to-peer, tunnelled",
    .default_ports = "49152-49215",
};

constinit const DriverRules qmp{
    .name = "qmp",
    .type = "qmp",
    .title = "bare QEMU, driven by vmferry",
    .about =
        "QEMU processes without libvirt. What the QEMU binary at hand cannot do is asked of "
        "it before anything starts.",
    .accepted = kEverything,
    .rules = kQmpRules,
    .uri = {.schemes = "tcp unix",
            .scheme_code = kArgumentUnsupported,
            .form_code = kInvalidArg,
            .note = "tcp://HOST[:PORT], unix:///PATH"},
    .habits = kAsQemu,
    .protocols = "v3 with parameters; peer-to-peer, tunnelled",
    .default_ports = "49152-49215",
};

constinit const DriverRules test{
    .name = "test",
    .type = "test",
    .title = "the simulation in vmferry",
    .about =
        "Simulated hosts for learning and for tests. It takes what qemu takes; with "
        "?rules=DRIVER in its URI it takes that driver's rules instead.",
    .accepted = kEverything,
    .rules = kQemuRules,
    .uri = {.schemes = "tcp rdma unix",
            .scheme_code = kArgumentUnsupported,
            .form_code = kInvalidArg,
            .note = "as qemu"},
    .habits = kAsQemu,
    .protocols = "v3 with parameters; others on request",
    .default_ports = "49152-49215",
};

}  // namespace vmferry::data
