#pragma once
// QEMU's command line, read and adjusted (https://www.qemu.org/docs/master/system/invocation.html).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

namespace vmferry::qmp {

using Words = std::vector<std::string>;  ///< argv, the program first

/// Splits text as a shell would: quotes, backslashes, continued lines, comments; nothing is
/// expanded. Errors: usage (an open quote, above 4096 words).
Result<Words> split_words(std::string_view text);

/// Whether QEMU's option takes no value (qemu-options.def, those without HAS_ARG).
bool is_flag(std::string_view option);
/// The value of the last such option ("machine", "M"); with one or two dashes, as QEMU takes them.
std::optional<std::string> value_of(const Words& argv, std::string_view name,
                                    std::string_view other_name = {});
bool has_option(const Words& argv, std::string_view name);
/// The value of KEY in "a,b=c,d=e"; an empty key means the first word that has no "=".
std::optional<std::string> sub_option(std::string_view value, std::string_view key);

/// The same command line with exactly this machine type ("pc-i440fx-7.2"): an alias (pc, q35) means
/// another machine in every release of QEMU.
void pin_machine(Words& argv, const std::string& type);
/// Sets -name and -uuid.
void set_identity(Words& argv, const std::string& name, const std::string& uuid);

/// The guest's RAM, as its command line asks for it.
struct Ram {
  std::uint64_t bytes = 0;
  /// Not empty: it has a backend or layout of its own, and is left alone.
  std::string own;
};
Ram ram_of(const Words& argv);
/// Makes the guest's RAM a shared mapping of this descriptor, which QEMU must inherit; with
/// `private_view` what it writes there stays its own.
void share_ram(Words& argv, std::uint64_t bytes, int descriptor, bool private_view = false);

/// What keeps a command line from being started by us, or from being started a second time beside
/// the first one; each a sentence. Empty: nothing.
std::vector<std::string> not_startable(const Words& argv);

}  // namespace vmferry::qmp
