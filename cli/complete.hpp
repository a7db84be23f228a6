#pragma once
// What may come next on a command line: the shells' completions ask `vmferry complete`.
#include <span>
#include <string>
#include <vector>

#include "cli/spec.hpp"

namespace vmferry::cli {

struct Candidate {
  std::string word, help;
};

/// Where the last, unfinished word of a command line stands.
struct Slot {
  enum class Kind : std::uint8_t { command, option, value, nothing };
  Kind kind = Kind::command;
  const Command* command = nullptr;
  const Option* option = nullptr;  ///< value: of this option or positional
  std::string prefix;              ///< what is typed of it
  std::string before;              ///< "--connect=", to be kept in front of a candidate
  std::string connect;             ///< -c URI, when it was given
  Values given;
};
/// Reads all words but the last one, forgiving whatever is wrong with them.
Slot find_slot(std::span<const std::string> words);

/// Commands, options, and values that are known without asking anyone. Options that collide with
/// what was typed, or that the driver of `uri` refuses, are left out.
std::vector<Candidate> static_candidates(const Slot& slot, std::string_view uri);

/// Host names in a known_hosts file's text (sshd(8)), without hashed ones and patterns.
std::vector<std::string> known_host_names(std::string_view text);
/// Names after "Host" in an ssh_config's text, without patterns.
std::vector<std::string> ssh_config_hosts(std::string_view text);

}  // namespace vmferry::cli
