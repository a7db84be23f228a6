#include "core/proto/convert.hpp"

namespace vmferry::proto {

Domain to_wire(const DomainRef& domain) { return {domain.name, domain.uuid.bytes, domain.id}; }
DomainRef from_wire(const Domain& domain) {
  return {domain.name.v, Uuid{domain.uuid.v}, domain.id};
}

namespace {
using WireValue = decltype(WireParam::Value::v);

struct ToWire {
  WireValue operator()(const std::string& text) const { return Str(text); }
  WireValue operator()(auto number) const {
    return WireValue(std::in_place_type<decltype(number)>, number);
  }
};
struct FromWire {
  TypedParam::Value operator()(const Str& text) const { return text.v; }
  TypedParam::Value operator()(auto number) const {
    return TypedParam::Value(std::in_place_type<decltype(number)>, number);
  }
};
}  // namespace

std::vector<WireParam> to_wire(const Params& params) {
  std::vector<WireParam> out;
  out.reserve(params.items.size());
  for (const TypedParam& p : params.items)
    out.push_back({p.field, WireParam::Value(std::visit(ToWire{}, p.value))});
  return out;
}

Params from_wire(const std::vector<WireParam>& params) {
  Params out;
  out.items.reserve(params.size());
  for (const WireParam& p : params) out.add(p.field.v, std::visit(FromWire{}, p.value.v));
  return out;
}

MaybeStr to_wire(const std::optional<std::string>& text) {
  return text ? MaybeStr(Str(*text)) : MaybeStr();
}
std::optional<std::string> from_wire(const MaybeStr& text) {
  return text.v ? std::optional(text.v->v) : std::nullopt;
}

}  // namespace vmferry::proto
