// The list of commands, from commands.def.
#include <algorithm>

#include "cli/spec.hpp"

namespace vmferry::cli {

// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration has none
#define VMFERRY_COMMAND(constant) extern const Command constant;
#include "cli/commands.def"
#undef VMFERRY_COMMAND

static constexpr const Command* kAll[] = {
#define VMFERRY_COMMAND(constant) &(constant),
#include "cli/commands.def"
#undef VMFERRY_COMMAND
};

std::span<const Command* const> commands() { return kAll; }

const Command* find_command(std::string_view name) {
  const auto found = std::ranges::find_if(kAll, [&](const Command* c) { return c->name == name; });
  return found == std::end(kAll) ? nullptr : *found;
}

std::vector<const Option*> all_options(const Command& command) {
  std::vector<const Option*> out;
  for (const Option& o : command.options) out.push_back(&o);
  if (command.more_options)
    for (const Option& o : command.more_options()) out.push_back(&o);
  return out;
}

}  // namespace vmferry::cli
