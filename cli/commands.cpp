// The list of commands, in the order of the help. A new command is one line here.
#include <algorithm>

#include "cli/spec.hpp"

namespace vmferry::cli {

extern const Command kList, kDefine, kUndefine, kStart, kSuspend, kResume, kShutdown, kDestroy;
extern const Command kMigrate, kPlan, kRules, kHostname, kUri, kVersion, kExplain;

static constexpr const Command* kAll[] = {
    &kMigrate, &kPlan,     &kRules,   &kList,     &kDefine, &kUndefine, &kStart,   &kSuspend,
    &kResume,  &kShutdown, &kDestroy, &kHostname, &kUri,    &kVersion,  &kExplain,
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
