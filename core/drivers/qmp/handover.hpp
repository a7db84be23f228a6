#pragma once
// Giving a guest's memory to another process instead of copying it.
#include <string>
#include <vector>

#include "core/drivers/qmp/store.hpp"

namespace vmferry::qmp {

/// How the memory of a running process gets to a second one.
struct Handover {
  Words argv;  ///< the second one's command line; backends name descriptors where need be
  std::vector<Fd> inherited;  ///< those descriptors
  Fd memory;                  ///< of a guest whose memory vmferry made; also new memory for a copy
  std::uint64_t bytes = 0;    ///< of `memory`
  bool whole = false;         ///< nothing of the guest's RAM is copied
  bool any = false;           ///< some memory is in both processes: x-ignore-shared must be on
  /// Can be handed over by QEMU's cpr-transfer only, if the second process knows it. `whole` and
  /// `any` say how it is without.
  bool by_cpr = false;
  std::string copied_because;  ///< and how the next time it need not be; sentences
};

/// `version`: of the running QEMU, see Client::version_number(). Errors: unsupported when the
/// memory can neither be handed over nor copied; denied.
Result<Handover> hand_over(const Instance& running, const Words& argv, std::uint64_t version);

}  // namespace vmferry::qmp
