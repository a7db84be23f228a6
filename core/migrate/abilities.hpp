#pragma once
// What a live connection can do in migrations, as `capabilities --migration` shows it: the host's
// own answers, and the rules of its driver for what no host is asked.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/migrate/resolve.hpp"

namespace vmferry {

/// <migration_features> with <live/>, <uri_transports>, <bandwidth/>, <protocol version=…/>, …
std::string abilities_xml(const HostView& host);
std::string abilities_text(const HostView& host);
nlohmann::ordered_json abilities_json(const HostView& host);

}  // namespace vmferry
