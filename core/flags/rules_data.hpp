#pragma once
// The drivers' rule sets; internal to core/flags.
#include "core/flags/rules.hpp"

namespace vmferry::data {

extern const DriverRules qemu, xen, vz, vz_2015, openvz, esx, ch, qmp, test, other;

constexpr Rule refuse(Opt option, std::int32_t code, std::string_view reason,
                      When when = When::always) {
  return {option, Stance::refused, reason, code, when};
}
constexpr Rule demand(Opt option, std::int32_t code, std::string_view reason,
                      When when = When::always) {
  return {option, Stance::demanded, reason, code, when};
}
/// Done anyway; the host takes the bit too.
constexpr Rule inherent(Opt option, std::string_view reason, When when = When::always) {
  return {option, Stance::inherent, reason, 0, when};
}
/// Done anyway; the host would reject the bit.
constexpr Rule inherent_unsent(Opt option, std::string_view reason, When when = When::always) {
  return {option, Stance::inherent, reason, kInvalidArg, when, false};
}
constexpr Rule harmless(Opt option, std::string_view reason, When when = When::always) {
  return {option, Stance::harmless, reason, 0, when};
}

}  // namespace vmferry::data
