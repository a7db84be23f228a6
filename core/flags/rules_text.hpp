#pragma once
// The rules, for people and for programs.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/flags/rules.hpp"

namespace vmferry {

/// Every flag against the drivers that migrate: "yes", "must", "always", "(yes)", "-".
std::string rules_overview(std::size_t columns = 80);
/// One driver: what it is, and each option with its stance. `release` 0: any.
std::string rules_text(const DriverRules& rules, std::uint64_t release, std::size_t columns = 80);
nlohmann::ordered_json rules_json(const DriverRules& rules, std::uint64_t release);
/// One option: what it is, what it goes with and what not, and every driver's word on it.
std::string option_rules_text(Opt option, std::size_t columns = 80);
nlohmann::ordered_json option_rules_json(Opt option);

}  // namespace vmferry
