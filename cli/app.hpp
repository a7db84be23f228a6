#pragma once
#include <span>
#include <string>

#include "cli/context.hpp"

namespace vmferry::cli {

/// Everything between main and the commands: parses, runs, prints errors. Never throws.
struct Surroundings {
  Executor executor;
  Clock& clock;
  Stop& stop;
  Opener open;
  Sink& sink;
  Environment environment;
  Terminal terminal;
  bool root = false;
};
Task<Exit> run_command_line(Surroundings around, std::vector<std::string> words);

}  // namespace vmferry::cli
