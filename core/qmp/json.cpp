#include "core/qmp/json.hpp"

namespace vmferry::qmp {

Result<Json> parse_json(std::string_view text) {
  constexpr int kDeepest = 64;
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  Json value = Json::parse(text, watch, false);
  if (too_deep) return fail(ErrorId::protocol, "a JSON document is nested too deeply");
  if (value.is_discarded()) return fail(ErrorId::protocol, "malformed JSON");
  return value;
}

const Json& at(const Json& object, std::string_view key) {
  static const Json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

std::string text_at(const Json& object, std::string_view key, std::string fallback) {
  const Json& member = at(object, key);
  return member.is_string() ? member.get<std::string>() : std::move(fallback);
}

std::int64_t number_at(const Json& object, std::string_view key, std::int64_t fallback) {
  const Json& member = at(object, key);
  return member.is_number() ? member.get<std::int64_t>() : fallback;
}

bool flag_at(const Json& object, std::string_view key, bool fallback) {
  const Json& member = at(object, key);
  return member.is_boolean() ? member.get<bool>() : fallback;
}

}  // namespace vmferry::qmp
