#pragma once
// Text for people and JSON for programs. Everything that a peer said is escaped on its way out.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

/// Rows of cells, printed as virsh prints them: two spaces between columns, a rule below the head.
class Table {
 public:
  explicit Table(std::vector<std::string> head) : head_(std::move(head)) {}
  void add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  std::string text() const;

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;
};

/// "Name:           web1" lines, as dominfo prints them. `width` is where values begin.
std::string labelled(std::string_view label, std::string_view value, std::size_t width = 16);

/// How wide running text may be: the terminal's width, 80 columns in a pipe.
std::size_t text_width(const Context& context);

/// Peers' text made harmless for a terminal, see escaped(); line ends are kept with `multi_line`.
std::string printable(std::string_view text, bool multi_line = false);

/// The one document of `--output json`.
void print_json(Context& context, const Json& document);
/// Text that is the result; `json` is printed instead with --output json.
void print_result(Context& context, std::string_view text, const Json& json);

/// A document of the host's own (XML): byte for byte into a pipe, harmless on a terminal, and with
/// --output json a string under `field`.
void print_document(Context& context, const std::string& field, std::string_view text);

/// An error for people ("error: [destination, prepare] …", causes, remedy, id) or as JSON.
void print_error(Sink& sink, Format format, const Terminal& terminal, const Error& error);
Json error_json(const Error& error);

}  // namespace vmferry::cli
