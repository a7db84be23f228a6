#include "core/xml/xpath.hpp"

#include <fmt/format.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>

#include <memory>

#include "core/base/text.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::xml {

namespace {

template <auto Free>
struct Freeing {
  void operator()(auto* object) const { Free(object); }
};
using OwnDoc = std::unique_ptr<xmlDoc, Freeing<xmlFreeDoc>>;
using Context = std::unique_ptr<xmlXPathContext, Freeing<xmlXPathFreeContext>>;
using Object = std::unique_ptr<xmlXPathObject, Freeing<xmlXPathFreeObject>>;
using Buffer = std::unique_ptr<xmlBuffer, Freeing<xmlBufferFree>>;

std::string dump(xmlDoc* doc, xmlNode* node) {
  const Buffer buffer(xmlBufferCreate());
  xmlNodeDump(buffer.get(), doc, node, 0, 1);
  return reinterpret_cast<const char*>(xmlBufferContent(buffer.get()));
}

struct Selection {
  OwnDoc doc;
  Object found;
  int count() const { return found->nodesetval ? found->nodesetval->nodeNr : 0; }
  xmlNode* node(int i) const { return found->nodesetval->nodeTab[i]; }
};

Result<Selection> run(std::string_view text, const std::string& expression) {
  const Result<Doc> checked = Doc::parse(text);  // its limits hold here too
  if (!checked) return std::unexpected(checked.error());
  constexpr int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
  Selection out;
  out.doc.reset(xmlReadMemory(text.data(), static_cast<int>(text.size()), nullptr, nullptr,
                              options | XML_PARSE_NOBLANKS));
  const Context context(out.doc ? xmlXPathNewContext(out.doc.get()) : nullptr);
  if (!context) return fail(ErrorId::internal, "out of memory for an XPath expression");
  context->error = [](void*, auto*) {};
  out.found.reset(
      xmlXPathEval(reinterpret_cast<const xmlChar*>(expression.c_str()), context.get()));
  if (!out.found)
    return fail(ErrorId::usage,
                fmt::format("'{}' is not an XPath expression", escaped(expression, 256)));
  if (out.found->type != XPATH_NODESET)
    return fail(ErrorId::usage, fmt::format("'{}' selects no nodes but a value; only nodes can be "
                                            "printed",
                                            escaped(expression, 256)));
  return out;
}

}  // namespace

Result<std::vector<std::string>> select(std::string_view text, const std::string& expression) {
  const Result<Selection> selection = run(text, expression);
  if (!selection) return std::unexpected(selection.error());
  std::vector<std::string> out;
  for (int i = 0; i < selection->count(); ++i)
    out.push_back(dump(selection->doc.get(), selection->node(i)));
  return out;
}

Result<std::string> select_wrapped(std::string_view text, const std::string& expression) {
  const Result<Selection> selection = run(text, expression);
  if (!selection) return std::unexpected(selection.error());
  const OwnDoc around(xmlNewDoc(reinterpret_cast<const xmlChar*>("1.0")));
  xmlNode* const root = xmlNewNode(nullptr, reinterpret_cast<const xmlChar*>("nodes"));
  xmlDocSetRootElement(around.get(), root);
  for (int i = 0; i < selection->count(); ++i) {
    xmlNode* const copy = xmlDocCopyNode(selection->node(i), around.get(), 1);
    if (copy && !xmlAddChild(root, copy)) xmlFreeNode(copy);
  }
  return dump(around.get(), root);
}

}  // namespace vmferry::xml
