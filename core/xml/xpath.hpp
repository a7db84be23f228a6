#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

namespace vmferry::xml {

/// The nodes that an XPath expression selects, each as XML; none may be an empty list. Errors: xml,
/// usage (not an expression, or one whose result is no set of nodes).
Result<std::vector<std::string>> select(std::string_view text, const std::string& expression);
/// The same below one element <nodes>.
Result<std::string> select_wrapped(std::string_view text, const std::string& expression);

}  // namespace vmferry::xml
