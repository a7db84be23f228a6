#pragma once
#include <string>

#include "cli/spec.hpp"

namespace vmferry::cli {

std::string overview();                            ///< the program: commands, exit statuses
std::string command_help(const Command& command);  ///< one command; at most 80 columns
std::string synopsis(const Command& command);      ///< "migrate [OPTION]... DOMAIN URI"

/// How an option is written in help: "--[no-]live", "-c, --connect URI".
std::string spelling(const Option& option);

/// One row of the table of exit statuses.
struct ExitRow {
  Exit exit;
  std::string_view meaning;
};
std::span<const ExitRow> exit_rows();

/// Breaks text at spaces so that no line is longer than `columns`; lines after the first begin
/// with `indent` spaces.
std::string wrap(std::string_view text, std::size_t columns, std::size_t indent);

}  // namespace vmferry::cli
