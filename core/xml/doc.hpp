#pragma once
// XML documents over libxml2. A document is at most 16 MiB, 256 levels deep, has no DOCTYPE, and
// thus no entities; nothing is ever loaded from elsewhere.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

struct _xmlDoc;   // NOLINT(bugprone-reserved-identifier): libxml2's name
struct _xmlNode;  // NOLINT(bugprone-reserved-identifier)

namespace vmferry::xml {

inline constexpr std::size_t kMostBytes = std::size_t{16} << 20;

/// An element of a Doc, or none. Valid as long as the Doc and the element. Reading none gives
/// nothing; editing none does nothing.
class Node {
 public:
  Node() = default;
  explicit Node(_xmlNode* node) : node_(node) {}
  explicit operator bool() const { return node_ != nullptr; }

  std::string name() const;  ///< without a namespace prefix
  std::string text() const;  ///< all text below, trimmed
  std::optional<std::string> attribute(const std::string& name) const;
  std::string get(const std::string& name) const { return attribute(name).value_or(""); }
  /// The first element below by path: "devices/emulator".
  Node at(std::string_view path) const;
  std::vector<Node> children() const;
  std::vector<Node> children(std::string_view name) const;

  void set(const std::string& attribute, const std::string& value);
  void unset(const std::string& attribute);
  void set_text(const std::string& text);
  Node add(const std::string& name);  ///< a new last child
  void remove();                      ///< with all below; this Node is none afterwards
  std::string to_string() const;      ///< this element as XML

 private:
  _xmlNode* node_ = nullptr;
};

class Doc {
 public:
  /// Errors: xml, with the line.
  static Result<Doc> parse(std::string_view text);
  /// A new document with an empty root element.
  static Doc make(const std::string& root);

  Node root() const;
  std::string to_string() const;  ///< without an XML declaration

 private:
  struct Free {
    void operator()(_xmlDoc* doc) const;
  };
  explicit Doc(_xmlDoc* doc) : doc_(doc) {}
  std::unique_ptr<_xmlDoc, Free> doc_;
};

}  // namespace vmferry::xml
