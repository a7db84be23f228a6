#pragma once
#include <memory>

#include "transports/prompter.hpp"

namespace vmferry::cli {

/// Asks on /dev/tty, whatever standard input is. One question at a time: two hosts that are being
/// connected to wait for each other's answers.
class TerminalPrompter final : public Prompter {
 public:
  Task<std::optional<std::string>> ask(std::string question, bool echo) override;

 private:
  struct Turn;
  std::weak_ptr<Turn> turn_;  // alive while somebody asks
};

}  // namespace vmferry::cli
