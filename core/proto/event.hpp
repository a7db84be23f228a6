#pragma once
// Events of domains, in the flavour with callback numbers (feature 14), and the older ones, which
// say nothing of a callback.
#include "core/proto/common.hpp"

namespace vmferry::proto {

/// virDomainEventID, as far as used
inline constexpr std::int32_t kEventIdLifecycle = 0, kEventIdIteration = 20,
                              kEventIdJobCompleted = 21;

struct EventRegisterArgs {
  std::int32_t event_id = 0;
  xdr::Maybe<Domain> dom;  ///< none: every domain's
  static auto fields(auto& s) { return std::tie(s.event_id, s.dom); }
};
struct LifecycleBody {
  std::int32_t callback = 0;
  Domain dom;
  std::int32_t event = 0, detail = 0;
  static auto fields(auto& s) { return std::tie(s.callback, s.dom, s.event, s.detail); }
};
struct LegacyLifecycleBody {
  Domain dom;
  std::int32_t event = 0, detail = 0;
  static auto fields(auto& s) { return std::tie(s.dom, s.event, s.detail); }
};
struct IterationBody {
  std::int32_t callback = 0;
  Domain dom;
  std::int32_t iteration = 0;
  static auto fields(auto& s) { return std::tie(s.callback, s.dom, s.iteration); }
};
struct JobCompletedBody {
  std::int32_t callback = 0;
  Domain dom;
  WireParams params;
  static auto fields(auto& s) { return std::tie(s.callback, s.dom, s.params); }
};

using EventRegister =
    Procedure<316, "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY", EventRegisterArgs, IntRet>;
using EventDeregister =
    Procedure<317, "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY", IntArgs, Void>;

// Before 1.3: one registration for each event and connection; only the first 16 events exist.
using EventRegisterLegacy = Procedure<105, "CONNECT_DOMAIN_EVENT_REGISTER", Void, IntRet>;
using EventDeregisterLegacy = Procedure<106, "CONNECT_DOMAIN_EVENT_DEREGISTER", Void, IntRet>;
using EventRegisterAny = Procedure<167, "CONNECT_DOMAIN_EVENT_REGISTER_ANY", IntArgs, Void>;
using EventDeregisterAny = Procedure<168, "CONNECT_DOMAIN_EVENT_DEREGISTER_ANY", IntArgs, Void>;
inline constexpr std::int32_t kLegacyEventMax = 15;

using LegacyLifecycle = Event<107, "DOMAIN_EVENT_LIFECYCLE", LegacyLifecycleBody>;
using EventLifecycle = Event<318, "DOMAIN_EVENT_CALLBACK_LIFECYCLE", LifecycleBody>;
using EventIteration = Event<359, "DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION", IterationBody>;
using EventJobCompleted = Event<363, "DOMAIN_EVENT_CALLBACK_JOB_COMPLETED", JobCompletedBody>;
using EventConnectionClosed = Event<362, "CONNECT_EVENT_CONNECTION_CLOSED", IntArgs>;

}  // namespace vmferry::proto
