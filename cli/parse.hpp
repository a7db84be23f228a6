#pragma once
#include <span>
#include <string>

#include "cli/context.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

/// Options of the program itself; they may stand before or after the command.
struct Globals {
  std::string connect;
  Format format = Format::text;
  bool quiet = false;
  bool help = false;
  bool version = false;
};
std::span<const Option> global_options();

struct Parsed {
  Globals globals;
  const Command* command = nullptr;  ///< none: only --help or --version was asked for
  Values values;
};

/// Reads a command line (without the program's name). Options may be written --name VALUE,
/// --name=VALUE, -n VALUE; positionals also --name VALUE, as in virsh. `--` ends the options.
/// Errors: usage, with a suggestion where something was mistyped. `format` is set as soon as it is
/// known, so that even the refusal of the rest can be printed in it.
Result<Parsed> parse(std::span<const std::string> words, Format& format);

}  // namespace vmferry::cli
