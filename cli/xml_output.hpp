#pragma once
#include <string>

#include "cli/output.hpp"
#include "cli/spec.hpp"

namespace vmferry::cli {

/// --xpath and --wrap, as virsh has them on everything that prints XML.
struct XmlFilter {
  std::string xpath;
  bool wrap = false;
  Result<> check() const;
};

inline constexpr Option kXpath = {
    .name = "xpath", .metavar = "EXPRESSION", .help = "only the nodes that it selects"};
inline constexpr Option kWrap = {.name = "wrap",
                                 .help = "put the nodes of --xpath below one element <nodes>"};

/// The document, or what the filter selects of it. Throws what xml::select() refuses.
void print_xml(Context& context, const std::string& field, const std::string& xml,
               const XmlFilter& filter);

}  // namespace vmferry::cli
