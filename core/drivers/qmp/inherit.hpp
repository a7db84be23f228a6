#pragma once
// The command line of a QEMU that someone else started, made fit for a second process: on this
// host or on another.
#include <string>
#include <vector>

#include "core/drivers/qmp/observe.hpp"

namespace vmferry::qmp {

struct Inherited {
  Words argv;
  std::string pid_file;  ///< that the process keeps; absolute
  /// What another process would not have: the guest is not moved while there is one. Sentences.
  std::vector<std::string> cannot;
  std::vector<std::string> here_only;  ///< what a process on another host would not have
  std::vector<std::string> remarks;    ///< what will differ, and does not matter to the guest
};

Inherited inherit(const Observed& observed);

}  // namespace vmferry::qmp
