#include "core/host/host.hpp"

namespace vmferry {

namespace {
// A coroutine must not live inside a capturing lambda: the call's copy is its own object here.
struct PlainFinish {
  Host* host;
  std::shared_ptr<const PhaseCall> call;
  Task<Finished> operator()(const Cookie& cookie, Verdict verdict) const {
    return host->finish(*call, cookie, verdict);
  }
};
}  // namespace

ReadyFinish Host::ready_finish(const PhaseCall& call) {
  return PlainFinish{this, std::make_shared<const PhaseCall>(call)};
}

Task<std::optional<bool>> Host::ever_started(const DomainRef&, const Cookie&) {
  co_return std::nullopt;
}

}  // namespace vmferry
