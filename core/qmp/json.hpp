#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/base/error.hpp"

namespace vmferry::qmp {

using Json = nlohmann::json;

/// Parses one document. Nesting deeper than 64 and anything malformed: ErrorId::protocol.
Result<Json> parse_json(std::string_view text);

/// Members of an object that came from outside; the fallback when absent or of another type.
std::string text_at(const Json& object, std::string_view key, std::string fallback = {});
std::int64_t number_at(const Json& object, std::string_view key, std::int64_t fallback = 0);
bool flag_at(const Json& object, std::string_view key, bool fallback = false);
/// The member, or a null value.
const Json& at(const Json& object, std::string_view key);

}  // namespace vmferry::qmp
