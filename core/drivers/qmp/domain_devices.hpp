#pragma once
#include <string>
#include <vector>

#include "core/drivers/qmp/command_line.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::qmp {

struct DeviceWords {
  Words words;                           ///< of QEMU's command line, without the program
  std::vector<std::string> unsupported;  ///< what was found and cannot be done, each named
};

/// The part of a domain's XML that is known here, as words of a command line. Nothing is left out
/// silently: what would change the guest and is not known is in `unsupported`.
DeviceWords device_words(const xml::Node& root, const xml::Domain& domain);

}  // namespace vmferry::qmp
