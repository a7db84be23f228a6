#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace vmferry {

/// libvirt's typed parameter (virTypedParameter): the alternatives in the order of their type
/// numbers 1..7 (INT, UINT, LLONG, ULLONG, DOUBLE, BOOLEAN, STRING).
struct TypedParam {
  using Value = std::variant<std::int32_t, std::uint32_t, std::int64_t, std::uint64_t, double, bool,
                             std::string>;
  std::string field;
  Value value;
  bool operator==(const TypedParam&) const = default;
};

/// Typed parameters in the order in which they travel. A field may occur more than once only where
/// libvirt says so (migrate_disks, migrate_disks_detect_zeroes, compression).
class Params {
 public:
  std::vector<TypedParam> items;

  void add(std::string_view field, TypedParam::Value value) {
    items.push_back({std::string(field), std::move(value)});
  }
  /// Replaces every occurrence of the field by this one.
  void set(std::string_view field, TypedParam::Value value) {
    remove(field);
    add(field, std::move(value));
  }
  void remove(std::string_view field) {
    std::erase_if(items, [field](const TypedParam& p) { return p.field == field; });
  }
  /// The first value of that field and type, or null.
  template <class T>
  const T* get(std::string_view field) const {
    for (const TypedParam& p : items)
      if (p.field == field) return std::get_if<T>(&p.value);
    return nullptr;
  }
  bool has(std::string_view field) const {
    for (const TypedParam& p : items)
      if (p.field == field) return true;
    return false;
  }
  bool operator==(const Params&) const = default;
};

}  // namespace vmferry
