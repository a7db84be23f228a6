#pragma once
// Between our own value types and the wire's.
#include "core/flags/param.hpp"
#include "core/host/domain.hpp"
#include "core/proto/common.hpp"

namespace vmferry::proto {

Domain to_wire(const DomainRef& domain);
DomainRef from_wire(const Domain& domain);

/// Limits are checked when it is encoded.
std::vector<WireParam> to_wire(const Params& params);
Params from_wire(const std::vector<WireParam>& params);

/// An absent value and an empty one are two things on the wire: nullopt is absent.
MaybeStr to_wire(const std::optional<std::string>& text);
std::optional<std::string> from_wire(const MaybeStr& text);

}  // namespace vmferry::proto
