#include "core/explain/diagnose.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "core/base/text.hpp"
#include "core/flags/table.hpp"

namespace vmferry {

namespace {

/// Pieces joined by "*" that follow each other somewhere in the text.
bool holds(std::string_view text, std::string_view words) {
  std::size_t from = 0;
  for (const std::string_view piece : split(words, '*')) {
    const std::size_t at = text.find(piece, from);
    if (at == std::string_view::npos) return false;
    from = at + piece.size();
  }
  return true;
}

/// Ids that say no more than "the far side refused or failed": a better one may take their place.
bool vague(ErrorId id) {
  switch (id) {
    case ErrorId::remote:
    case ErrorId::unsupported:
    case ErrorId::invalid_state:
    case ErrorId::not_found:
    case ErrorId::exists:
    case ErrorId::migrate_failed:
    case ErrorId::xml:
      return true;
    default:
      return false;
  }
}

/// Ids that tell where the guest is now; their reason is worth a note.
bool outcome(ErrorId id) {
  return id == ErrorId::cancelled || id == ErrorId::leftover || id == ErrorId::undecided ||
         id == ErrorId::guest_lost;
}

/// A refusal of flags or parameters that our tables had let pass.
bool unforeseen(const Error& error) {
  constexpr std::int32_t no_support = 3, invalid_arg = 8, argument_unsupported = 74;
  const std::int32_t code = error.wire.code;
  const bool early = error.phase == "begin" || error.phase == "prepare" || error.phase == "perform";
  return early && (code == no_support || code == invalid_arg || code == argument_unsupported);
}

// "unsupported flags (0x840) in function libxlDomainMigrateBegin3Params": which options those are.
void name_flags(Error& error) {
  constexpr std::string_view before = "unsupported flags (0x";
  const std::size_t at = error.message.find(before);
  if (at == std::string::npos) return;
  std::uint64_t bits = 0;
  const char* digits = error.message.data() + at + before.size();
  const auto read = std::from_chars(digits, error.message.data() + error.message.size(), bits, 16);
  if (read.ec != std::errc()) return;
  std::vector<std::string> named;
  for (const OptRow& r : opt_rows()) {
    const std::optional<Flag> flag = flag_of(r.id);
    if (flag && (bits & FlagSet{*flag}.bits()) != 0) named.push_back(option_text(r.id));
  }
  if (!named.empty()) error.note(fmt::format("the host does not take {}", joined(named, ", ")));
}

void note_once(Error& error, std::string text) {
  if (std::ranges::find(error.notes, text) == error.notes.end()) error.note(std::move(text));
}

}  // namespace

std::optional<ErrorId> recognise(WireCode wire, std::string_view message) {
  const std::string text = lower(message);
  for (const Signature& s : signatures()) {
    if (s.code != 0 && s.code != wire.code) continue;
    if (s.domain != 0 && s.domain != wire.domain) continue;
    if (s.words.empty() || holds(text, s.words)) return s.id;
  }
  return std::nullopt;
}

Error diagnose(Error error) {
  name_flags(error);
  const std::optional<ErrorId> found = recognise(error.wire, error.message);
  if (!found) {
    const bool skipped = std::ranges::find(error.notes, kRulesSkipped) != error.notes.end();
    if (unforeseen(error) && !skipped) note_once(error, std::string(kUnforeseen));
    return error;
  }
  if (error.id == *found) return error;
  if (vague(error.id)) {
    error.id = *found;
  } else if (outcome(error.id)) {
    note_once(error, fmt::format("reason: {} ({}). {}", entry(*found).summary, entry(*found).id,
                                 entry(*found).remedy));
  }
  return error;
}

const ErrorEntry* find_error(std::string_view id) {
  for (const ErrorEntry& e : error_entries())
    if (e.id == id) return &e;
  return nullptr;
}

}  // namespace vmferry
