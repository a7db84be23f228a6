#pragma once
// What a driver would say of every pair of flags: for programs that offer choices, and to compare
// with what real daemons say.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "core/flags/rules.hpp"

namespace vmferry {

/// Every single flag and every pair, each exactly as if it were all that was typed with --strict:
/// [{"flags": ["--live", …], "value": 0x…, "objections": [{"libvirt_code": …, "reason": …}]}].
/// Hosts of libvirt `release` (0: any) that announce every feature.
nlohmann::ordered_json flag_pairs_json(const DriverRules& rules, bool active,
                                       std::uint64_t release);

}  // namespace vmferry
