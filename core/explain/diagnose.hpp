#pragma once
// Recognises what hypervisors say of well-known troubles, and attaches our id and remedy.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/error.hpp"

namespace vmferry {

/// How a trouble looks from outside. libvirt's code and domain count first; texts are translated by
/// daemons that do not run in the C locale.
struct Signature {
  ErrorId id;
  std::int32_t code = 0;        ///< virErrorNumber; 0: any
  std::int32_t domain = 0;      ///< virErrorDomain; 0: any
  std::string_view words = {};  ///< pieces that follow each other, joined by "*"; empty: any text
};
std::span<const Signature> signatures();

/// The first signature that fits.
std::optional<ErrorId> recognise(WireCode wire, std::string_view message);

/// The note on a refusal that the rules had let pass.
inline constexpr std::string_view kUnforeseen =
    "the rules of this program had not predicted that refusal: the host is newer than they are, or "
    "they are wrong";
/// What stands in its place where the user had the rules skipped.
inline constexpr std::string_view kRulesSkipped =
    "--trust-host: what the rules say of it was not looked at; `vmferry plan` without it does";

/// The error with the id and remedy of what it was recognised as. An id that tells an outcome
/// (cancelled, leftover, undecided, lost) stays; what was recognised becomes a note. Doing it twice
/// changes nothing.
Error diagnose(Error error);

/// `explain`: the entry of a stable id ("disk.unsafe"), or null.
const ErrorEntry* find_error(std::string_view id);

}  // namespace vmferry
