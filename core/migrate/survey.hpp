#pragma once
// The way from a request to a plan and two open connections: what `migrate`, `plan` and `check`
// have in common.
#include <memory>

#include "core/host/open.hpp"
#include "core/migrate/engine.hpp"
#include "core/migrate/resolve.hpp"

namespace vmferry {

struct Survey {
  Endpoint source, destination;  ///< destination.host may be null in a peer-to-peer migration
  Resolution resolution;
};

/// Connects to both hosts at the same time, asks what they can do and for the domain, and resolves
/// the request. request.source must be complete. A destination that cannot be reached from here is
/// an error, except for a peer-to-peer or direct migration, where it becomes a note.
/// Errors: uri_invalid, connect_*, auth_needed, no_domain; each with its side. Objections are in
/// the resolution.
Task<Survey> survey(Opener open, Request request);

}  // namespace vmferry
