#pragma once
#include <string>

#include "cli/spec.hpp"

namespace vmferry::cli {

/// The program: commands, exit statuses. No line is longer than `columns`.
std::string overview(std::size_t columns = 80);
std::string command_help(const Command& command, std::size_t columns = 80);
std::string synopsis(const Command& command);  ///< "migrate [OPTION]... DOMAIN URI"

/// How an option is written in help: "--[no-]live", "-c, --connect URI".
std::string spelling(const Option& option);

/// One row of the table of exit statuses.
struct ExitRow {
  Exit exit;
  std::string_view meaning;
};
std::span<const ExitRow> exit_rows();

}  // namespace vmferry::cli
