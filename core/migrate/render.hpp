#pragma once
// A resolution, for people and for programs.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/migrate/resolve.hpp"

namespace vmferry {

/// One value of a typed parameter as text: numbers plain, texts escaped, XML as its size.
std::string value_text(const TypedParam& param);

/// Lines for people, with a newline at the end; wrapped to `columns`, or not at all.
std::string plan_text(const Resolution& resolution, std::size_t columns = std::string::npos);
nlohmann::ordered_json plan_json(const Resolution& resolution);
nlohmann::ordered_json objection_json(const Objection& objection);
/// "managed", "peer-to-peer", "direct"; "v3 with parameters", …
std::string_view kind_text(Kind kind);
std::string_view protocol_text(Protocol protocol);

}  // namespace vmferry
