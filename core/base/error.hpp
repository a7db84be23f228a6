#pragma once
// One error type for the whole program: returned inside Result<T> by pure code, thrown through
// coroutines. The first error wins; later ones become its notes.
#include <cstdint>
#include <exception>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vmferry {

/// Exit statuses of the program, by cause.
enum class Exit : std::uint8_t {
  done = 0,
  failed = 1,     ///< failed; the guest is safe where it was
  usage = 2,      ///< the command line is wrong, nothing was contacted
  refused = 3,    ///< rules, facts or policy forbid it, nothing was changed
  connect = 4,    ///< could not connect or authenticate
  cancelled = 5,  ///< cancelled or timed out; the guest is safe where it was
  partly = 6,     ///< moved, but something after the switch failed
  unknown = 7,    ///< both ends must be looked at
  not_found = 8,  ///< no such domain, host object or file
  internal = 9,   ///< a bug
};

enum class ErrorId : std::uint8_t {
#define VMFERRY_ERROR(name, id, exit, summary, causes, remedy) name,
#include "core/base/errors.def"
#undef VMFERRY_ERROR
};

/// A row of errors.def.
struct ErrorEntry {
  std::string_view id;
  Exit exit;
  std::string_view summary, causes, remedy;
};
const ErrorEntry& entry(ErrorId id);
std::span<const ErrorEntry> error_entries();

/// Where something happened. `network` is what lies between the two hosts.
enum class Side : std::uint8_t { none, client, source, destination, network };
std::string_view name(Side side);

/// libvirt's error code and domain (virterror.h), when the error came over the wire; 0 = neither.
struct WireCode {
  std::int32_t code = 0;
  std::int32_t domain = 0;
  bool operator==(const WireCode&) const = default;
};

/// What went wrong. `message` is one sentence with the hypervisor's own words where there are any;
/// `remedy` empty means the one of the id's row. `reply_lost`: a request was sent and its reply
/// never seen, so it may have been carried out.
class Error : public std::exception {
 public:
  Error(ErrorId error_id, std::string text) : id(error_id), message(std::move(text)) {}

  ErrorId id;
  std::string message;
  std::string remedy;
  Side side = Side::none;
  std::string phase;  ///< "begin", "prepare", …; empty when it was in none
  WireCode wire;
  bool reply_lost = false;
  std::vector<std::string> notes;

  const char* what() const noexcept override { return message.c_str(); }
  Exit exit() const { return entry(id).exit; }
  std::string_view remedy_text() const {
    return remedy.empty() ? entry(id).remedy : std::string_view(remedy);
  }

  Error& at(Side where) & {
    if (side == Side::none) side = where;
    return *this;
  }
  Error&& at(Side where) && { return std::move(at(where)); }
  Error& in(std::string_view phase_name) & {
    if (phase.empty()) phase = phase_name;
    return *this;
  }
  Error&& in(std::string_view phase_name) && { return std::move(in(phase_name)); }
  Error& note(std::string text) & {
    notes.push_back(std::move(text));
    return *this;
  }
  Error&& note(std::string text) && { return std::move(note(std::move(text))); }
  Error&& advise(std::string text) && {
    remedy = std::move(text);
    return std::move(*this);
  }
};

template <class T = void>
using Result = std::expected<T, Error>;

/// For `return fail(ErrorId::usage, "...")` in functions that return Result.
inline std::unexpected<Error> fail(ErrorId id, std::string message) {
  return std::unexpected(Error(id, std::move(message)));
}

/// The value, or throws the Error: the bridge from pure code into a coroutine.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw std::move(result).error();
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// The exception being handled, as an Error. Only inside a catch block.
Error current_error() noexcept;

}  // namespace vmferry
