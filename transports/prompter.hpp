#pragma once
#include <optional>
#include <string>

#include "core/async/task.hpp"

namespace vmferry {

/// Asks the person at the terminal, and nobody else: never reads standard input.
class Prompter {
 public:
  virtual ~Prompter() = default;
  /// The line that was typed, without its end; nothing when there is no terminal or the person
  /// gave up. `question` is printed as it is (escape what a peer said). Waits as long as it takes:
  /// a person thinks.
  virtual Task<std::optional<std::string>> ask(std::string question, bool echo) = 0;
};

}  // namespace vmferry
