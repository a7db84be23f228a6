#pragma once
// Rules that follow from what a flag or parameter means, the same for every driver: those of
// virsh, of libvirt's public API, and exclusions and requirements by definition. Data in
// check.cpp; every objection is listed, none hides another.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/flags/table.hpp"

namespace vmferry {

// libvirt's codes that a rule predicts (virErrorNumber, virterror.h). 0: libvirt would not object.
inline constexpr std::int32_t kInternalError = 1, kNoSupport = 3, kInvalidArg = 8,
                              kOperationFailed = 9, kOperationDenied = 29, kOperationInvalid = 55,
                              kArgumentUnsupported = 74, kOverflow = 82, kOperationUnsupported = 84;

/// What was said of every option. A parameter or client option that was given is `yes`.
struct Chosen {
  std::array<Choice, kOptCount> of{};
  Choice& operator[](Opt o) { return of[std::to_underlying(o)]; }
  Choice operator[](Opt o) const { return of[std::to_underlying(o)]; }
  bool yes(Opt o) const { return (*this)[o] == Choice::yes; }
  bool no(Opt o) const { return (*this)[o] == Choice::no; }
  bool unset(Opt o) const { return (*this)[o] == Choice::unset; }
};

/// What found an objection; it decides the exit status (command: 2, the others: 3).
enum class Source : std::uint8_t {
  command,  ///< the command line alone
  common,   ///< a flag's definition, seen with the domain's state or the drivers' defaults
  driver,   ///< the driver's rules
  release,  ///< that release does not know it
  host,     ///< what the host answered when asked for its features
  uri,      ///< a URI's form
};
std::string_view name(Source source);

/// Why a request cannot be carried out.
struct Objection {
  Source source = Source::command;
  std::optional<Opt> option;  ///< what is objected to
  std::optional<Opt> other;   ///< what it collides with, or misses
  std::string reason;         ///< one sentence, names the options
  std::string remedy;         ///< may be empty
  std::int32_t code = 0;      ///< what libvirt would refuse with
  Side side = Side::none;     ///< whose rules
  std::string rule;           ///< "common", "vz", …
};

/// One rule: `option`, when chosen, excludes or needs another.
struct Relation {
  enum class Kind : std::uint8_t {
    excludes,
    needs,     ///< must be typed
    needs_any  ///< one of both
  };
  Opt option;
  Kind kind;
  Opt other, another;  ///< `another`: of needs_any
  std::int32_t code;
  std::string_view reason;  ///< why, as the end of "A and B exclude each other: …"
  /// needs: an option that was not said is filled in (by drivers' defaults, or by implication)
  /// unless defaults are off.
  bool filled_in = false;
};
std::span<const Relation> relations();

/// Every relation that is violated. `strict`: what would be filled in must be typed.
std::vector<Objection> check_relations(const Chosen& chosen, bool strict, Source source);

}  // namespace vmferry
