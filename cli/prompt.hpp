#pragma once
#include "transports/prompter.hpp"

namespace vmferry::cli {

/// Asks on /dev/tty, whatever standard input is.
class TerminalPrompter final : public Prompter {
 public:
  Task<std::optional<std::string>> ask(std::string question, bool echo) override;
};

}  // namespace vmferry::cli
