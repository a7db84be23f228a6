#include "core/migrate/pairs.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/migrate/render.hpp"
#include "core/migrate/resolve.hpp"

namespace vmferry {

using Json = nlohmann::ordered_json;

namespace {

/// A simulated host's URI picks any rule set.
HostView host(const DriverRules& rules, std::string_view name, std::uint64_t release) {
  HostView out{"TEST",
               fmt::format("test+tcp://{}/default?rules={}", name, rules.name),
               std::string(name),
               release,
               {}};
  out.features = {.v3 = true,
                  .v3_params = true,
                  .p2p = true,
                  .direct = true,
                  .offline = true,
                  .change_protection = true};
  return out;
}

}  // namespace

Json flag_pairs_json(const DriverRules& rules, bool active, std::uint64_t release) {
  const HostView a = host(rules, "host1", release), b = host(rules, "host2", release);
  DomainView domain;
  domain.ref.name = "guest";
  domain.status.state = active ? DomainState::running : DomainState::shutoff;
  domain.persistent = true;
  Json out = Json::array();
  for (int i = 0; i < kFlagCount; ++i)
    for (int j = i; j < kFlagCount; ++j) {
      Request request{.domain = "guest"};
      request.strict = true;
      const Flag one = static_cast<Flag>(i), two = static_cast<Flag>(j);
      request[one] = request[two] = Choice::yes;
      Json entry{{"flags", Json::array({option_text(opt(one))})},
                 {"value", FlagSet{one, two}.bits()}};
      if (i != j) entry["flags"].push_back(option_text(opt(two)));
      entry["objections"] = Json::array();
      for (const Objection& o : resolve(request, a, b, domain).objections)
        entry["objections"].push_back(objection_json(o));
      out.push_back(std::move(entry));
    }
  return out;
}

}  // namespace vmferry
