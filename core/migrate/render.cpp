#include "core/migrate/render.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/migrate/draft.hpp"

namespace vmferry {

using json = nlohmann::ordered_json;

namespace {

std::string asked_text(const Request& request) {
  std::string out;
  const Chosen said = chosen(request);
  for (const OptRow& r : opt_rows()) {
    if (said.unset(r.id)) continue;
    if (!out.empty()) out += ' ';
    out += fmt::format("--{}{}", said.no(r.id) ? "no-" : "", r.option);
    if (!is_param(r.id)) continue;
    std::string values;
    for (const TypedParam& p : request.params.items)
      if (p.field == r.name) values += (values.empty() ? "" : ",") + value_text(p);
    out += ' ' + values;
  }
  return out.empty() ? "nothing but where to go" : out;
}

std::string params_text(const Params& params) {
  std::string out;
  for (const TypedParam& p : params.items)
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", p.field, value_text(p));
  return out.empty() ? "none" : out;
}

std::string code_name(std::int32_t code) {
  switch (code) {
    case kInternalError:
      return "INTERNAL_ERROR";
    case kNoSupport:
      return "NO_SUPPORT";
    case kInvalidArg:
      return "INVALID_ARG";
    case kOperationFailed:
      return "OPERATION_FAILED";
    case kOperationDenied:
      return "OPERATION_DENIED";
    case kOperationInvalid:
      return "OPERATION_INVALID";
    case kArgumentUnsupported:
      return "ARGUMENT_UNSUPPORTED";
    case kOverflow:
      return "OVERFLOW";
    case kOperationUnsupported:
      return "OPERATION_UNSUPPORTED";
    default:
      return "";
  }
}

constexpr std::size_t kLabel = 13;

/// `text` after `first`, its lines wrapped under its beginning.
std::string hanging(std::string_view first, std::string_view text, std::size_t columns) {
  const std::size_t room = columns == std::string::npos ? columns : columns - first.size();
  return fmt::format("{}{}\n", first, wrap(text, room, first.size()));
}

std::string objections_text(const Resolution& r, std::size_t columns) {
  std::string out;
  for (const Objection& o : r.objections) {
    out += hanging("  - ", o.reason, columns);
    if (!o.remedy.empty()) out += hanging("      ", o.remedy, columns);
    if (o.code != 0)
      out += hanging("      ",
                     fmt::format("(libvirt would refuse with {} {}; rule: {})", o.code,
                                 code_name(o.code), o.rule),
                     columns);
  }
  return out;
}

/// The bits that both sides get, and the one that only the source gets.
std::string all_flags_text(const Plan& plan) {
  std::string out = fmt::format("{:#x} {}", plan.flags.bits(), flags_text(plan.flags));
  if (!plan.change_protection) return out;
  const FlagSet all = plan.flags.with(Flag::change_protection);
  return out + fmt::format("; for the source {:#x}, with CHANGE_PROTECTION", all.bits());
}

json value_json(const TypedParam& p) {
  return std::visit([](const auto& v) { return json(v); }, p.value);
}

json filled_json(const Filled& f) {
  return {{"option", f.text}, {"rule", f.rule}, {"reason", f.reason}, {"sent", f.sent}};
}

json params_json(const Params& params) {
  json out = json::object();
  for (const TypedParam& p : params.items) {
    const OptRow* r = find_param(p.field);
    if (r != nullptr && r->type == ValueType::list)
      out[p.field].push_back(value_json(p));
    else
      out[p.field] = value_json(p);
  }
  return out;
}

json flag_names(FlagSet flags) {
  json out = json::array();
  for (int bit = 0; bit < kFlagCount; ++bit)
    if (flags.has(static_cast<Flag>(bit))) out.push_back(row(static_cast<Flag>(bit)).name);
  return out;
}

}  // namespace

std::string value_text(const TypedParam& p) {
  if (p.field == "destination_xml" || p.field == "persistent_xml")
    if (const auto* xml = std::get_if<std::string>(&p.value))
      return fmt::format("({} bytes of XML)", xml->size());
  return std::visit(
      [](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
          return escaped(v, 512);
        else
          return fmt::format("{}", v);
      },
      p.value);
}

std::string_view kind_text(Kind kind) {
  static constexpr std::string_view names[] = {"managed", "peer-to-peer", "direct"};
  return names[static_cast<std::size_t>(kind)];
}

std::string_view protocol_text(Protocol protocol) {
  static constexpr std::string_view names[] = {"v1", "v2", "v3", "v3 with parameters"};
  return names[static_cast<std::size_t>(protocol)];
}

std::string plan_text(const Resolution& r, std::size_t columns) {
  const Plan& plan = r.plan;
  std::string out;
  const auto add_row = [&](std::string_view label, std::string_view text) {
    out += hanging(fmt::format("{:<{}}", label, kLabel), text, columns);
  };
  add_row("domain",
          fmt::format("{} ({})", escaped(plan.domain.name, 255), to_string(plan.domain.uuid)));
  add_row("from", escaped(plan.source_uri, 512));
  add_row("to", escaped(plan.destination_uri, 512));
  add_row("rules", r.rules);
  add_row("asked", asked_text(r.asked));
  std::string_view label = "filled in";
  for (const Filled& f : r.filled) {
    add_row(label,
            fmt::format("{} ({}: {}{})", f.text, f.rule, f.reason, f.sent ? "" : "; not sent"));
    label = "";
  }
  add_row("flags", all_flags_text(plan));
  add_row("parameters", params_text(plan.params));
  add_row("kind",
          fmt::format("{}, protocol {}", kind_text(plan.kind), protocol_text(plan.protocol)));
  label = "phases";
  for (const Step& s : r.steps) {
    out += hanging(fmt::format("{:<{}}{:<8} {:<12} ", label, kLabel, s.phase, name(s.side)), s.what,
                   columns);
    label = "";
  }
  add_row("data", r.data.text);
  for (const std::string& note : r.notes) add_row("note", note);
  if (r.allowed()) {
    out += hanging("", r.end_state, columns);
    return out;
  }
  out += fmt::format("refused, {} objection{}:\n", r.objections.size(),
                     r.objections.size() == 1 ? "" : "s");
  return out + objections_text(r, columns);
}

json objection_json(const Objection& o) {
  json out{{"source", name(o.source)}, {"reason", o.reason}, {"rule", o.rule}};
  if (o.option) out["option"] = option_text(*o.option);
  if (o.other) out["other"] = option_text(*o.other);
  if (!o.remedy.empty()) out["remedy"] = o.remedy;
  if (o.side != Side::none) out["side"] = name(o.side);
  if (o.code != 0) out["libvirt_code"] = {{"number", o.code}, {"name", code_name(o.code)}};
  return out;
}

json plan_json(const Resolution& r) {
  const Plan& plan = r.plan;
  json out;
  out["domain"] = {{"name", escaped(plan.domain.name, 4096)},
                   {"uuid", to_string(plan.domain.uuid)}};
  out["source"] = plan.source_uri;
  out["destination"] = plan.destination_uri;
  out["rules"] = r.rules;
  out["asked"] = asked_text(r.asked);
  out["filled"] = json::array();
  for (const Filled& f : r.filled) out["filled"].push_back(filled_json(f));
  out["flags"] = {{"value", plan.flags.bits()},
                  {"hex", fmt::format("{:#x}", plan.flags.bits())},
                  {"names", flag_names(plan.flags)}};
  if (plan.change_protection)
    out["flags"]["source_hex"] =
        fmt::format("{:#x}", plan.flags.with(Flag::change_protection).bits());
  out["parameters"] = params_json(plan.params);
  out["kind"] = kind_text(plan.kind);
  out["protocol"] = protocol_text(plan.protocol);
  out["phases"] = json::array();
  for (const Step& s : r.steps)
    out["phases"].push_back({{"phase", s.phase}, {"side", name(s.side)}, {"what", s.what}});
  out["data"] = {{"protection", name(r.data.protection)},
                 {"transport", r.data.transport},
                 {"from", r.data.from},
                 {"to", r.data.to},
                 {"text", r.data.text}};
  out["notes"] = r.notes;
  out["objections"] = json::array();
  for (const Objection& o : r.objections) out["objections"].push_back(objection_json(o));
  out["allowed"] = r.allowed();
  out["end_state"] = r.end_state;
  return out;
}

}  // namespace vmferry
