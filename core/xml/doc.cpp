#include "core/xml/doc.hpp"

#include <fmt/format.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "core/base/text.hpp"

namespace vmferry::xml {

namespace {

const xmlChar* to_xml(const std::string& s) { return reinterpret_cast<const xmlChar*>(s.c_str()); }
std::string_view from_xml(const xmlChar* s) {
  return s ? std::string_view(reinterpret_cast<const char*>(s)) : std::string_view();
}

struct FreeText {
  void operator()(xmlChar* text) const { xmlFree(text); }
};
using Text = std::unique_ptr<xmlChar, FreeText>;

struct FreeContext {
  void operator()(xmlParserCtxt* context) const { xmlFreeParserCtxt(context); }
};

// A DOCTYPE is where entities and external files come from; no document of ours has one.
void refuse_doctype(void* context, const xmlChar*, const xmlChar*, const xmlChar*) {
  auto* parser = static_cast<xmlParserCtxt*>(context);
  parser->_private = parser;  // remembered as "had one"
  xmlStopParser(parser);
}

std::string dump(xmlDoc* doc, xmlNode* node) {
  xmlBuffer* buffer = xmlBufferCreate();
  xmlNodeDump(buffer, doc, node, 0, 1);
  std::string out(from_xml(xmlBufferContent(buffer)));
  xmlBufferFree(buffer);
  return out;
}

}  // namespace

std::string Node::name() const { return node_ ? std::string(from_xml(node_->name)) : ""; }

std::string Node::text() const {
  if (!node_) return {};
  const Text content(xmlNodeGetContent(node_));
  return std::string(trimmed(from_xml(content.get())));
}

std::optional<std::string> Node::attribute(const std::string& name) const {
  if (!node_) return std::nullopt;
  const Text value(xmlGetNoNsProp(node_, to_xml(name)));
  if (!value) return std::nullopt;
  return std::string(from_xml(value.get()));
}

std::vector<Node> Node::children() const {
  std::vector<Node> out;
  if (!node_) return out;
  for (xmlNode* n = node_->children; n; n = n->next)
    if (n->type == XML_ELEMENT_NODE) out.emplace_back(n);
  return out;
}

std::vector<Node> Node::children(std::string_view name) const {
  std::vector<Node> out;
  if (!node_) return out;
  for (xmlNode* n = node_->children; n; n = n->next)
    if (n->type == XML_ELEMENT_NODE && from_xml(n->name) == name) out.emplace_back(n);
  return out;
}

Node Node::at(std::string_view path) const {
  Node here = *this;
  for (const std::string_view step : split(path, '/')) {
    const std::vector<Node> found = here.children(step);
    if (found.empty()) return {};
    here = found.front();
  }
  return here;
}

void Node::set(const std::string& attribute, const std::string& value) {
  if (node_) xmlSetProp(node_, to_xml(attribute), to_xml(value));
}
void Node::unset(const std::string& attribute) {
  if (node_) xmlUnsetProp(node_, to_xml(attribute));
}
void Node::set_text(const std::string& text) {
  if (!node_) return;
  xmlNodeSetContent(node_, nullptr);
  xmlNodeAddContent(node_, to_xml(text));
}
Node Node::add(const std::string& name) {
  return node_ ? Node(xmlNewChild(node_, nullptr, to_xml(name), nullptr)) : Node();
}
void Node::remove() {
  if (!node_) return;
  xmlUnlinkNode(node_);
  xmlFreeNode(node_);
  node_ = nullptr;
}
std::string Node::to_string() const { return node_ ? dump(node_->doc, node_) : ""; }

void Doc::Free::operator()(_xmlDoc* doc) const { xmlFreeDoc(doc); }

Result<Doc> Doc::parse(std::string_view text) {
  if (text.size() > kMostBytes)
    return fail(ErrorId::xml,
                fmt::format("{} bytes of XML are more than {} MiB", text.size(), kMostBytes >> 20));
  const std::unique_ptr<xmlParserCtxt, FreeContext> context(xmlNewParserCtxt());
  if (!context) return fail(ErrorId::internal, "out of memory for an XML parser");
  context->sax->internalSubset = refuse_doctype;
  constexpr int options =
      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_COMPACT;
  Doc doc(xmlCtxtReadMemory(context.get(), text.data(), static_cast<int>(text.size()), nullptr,
                            nullptr, options));
  if (context->_private) return fail(ErrorId::xml, "the XML has a DOCTYPE, which is not allowed");
  if (doc.doc_ && xmlDocGetRootElement(doc.doc_.get())) return doc;
  const xmlError* why = xmlCtxtGetLastError(context.get());
  const std::string reason =
      why && why->message ? escaped(trimmed(why->message)) : "there is no element";
  return fail(ErrorId::xml,
              fmt::format("the XML is malformed (line {}: {})", why ? why->line : 1, reason));
}

Doc Doc::make(const std::string& root) {
  Doc doc(xmlNewDoc(to_xml("1.0")));
  xmlDocSetRootElement(doc.doc_.get(), xmlNewNode(nullptr, to_xml(root)));
  return doc;
}

Node Doc::root() const { return Node(xmlDocGetRootElement(doc_.get())); }
std::string Doc::to_string() const {
  return dump(doc_.get(), xmlDocGetRootElement(doc_.get())) + "\n";
}

}  // namespace vmferry::xml
