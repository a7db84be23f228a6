#include "cli/xml_output.hpp"

#include "core/xml/xpath.hpp"

namespace vmferry::cli {

Result<> XmlFilter::check() const {
  if (wrap && xpath.empty()) return fail(ErrorId::usage, "--wrap needs --xpath");
  return {};
}

void print_xml(Context& context, const std::string& field, const std::string& xml,
               const XmlFilter& filter) {
  std::string shown = xml;
  if (filter.wrap) {
    shown = value_or_throw(xml::select_wrapped(xml, filter.xpath));
  } else if (!filter.xpath.empty()) {
    shown.clear();
    for (const std::string& node : value_or_throw(xml::select(xml, filter.xpath)))
      shown += node + "\n";
  }
  if (!shown.empty()) print_document(context, field, shown);
}

}  // namespace vmferry::cli
