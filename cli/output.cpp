#include "cli/output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

constexpr std::size_t kMostShown = std::size_t{1} << 20;

std::string pad(std::string_view s, std::size_t width) {
  const std::size_t n = columns(s);
  return std::string(s) + std::string(width > n ? width - n : 0, ' ');
}

std::string where(const Error& e) {
  std::string out(name(e.side));
  if (!e.phase.empty()) out += (out.empty() ? "" : ", ") + e.phase;
  return out.empty() ? out : "[" + out + "] ";
}

}  // namespace

std::string printable(std::string_view text, bool multi_line) {
  if (!multi_line) return escaped(text, kMostShown);
  std::string out;
  for (const std::string_view line : split(text, '\n')) {
    if (!out.empty()) out += "\n  ";
    out += escaped(line, kMostShown);
  }
  return out;
}

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = printable(cell);
  row.resize(head_.size());
  rows_.push_back(std::move(row));
}

std::string Table::text() const {
  std::vector<std::size_t> widths(head_.size());
  std::ranges::transform(head_, widths.begin(), columns);
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  const auto line = [&](const std::vector<std::string>& row) {
    std::string out;
    for (std::size_t i = 0; i < row.size(); ++i)
      out += " " + (i + 1 == row.size() ? row[i] : pad(row[i], widths[i] + 2));
    return out + "\n";
  };
  std::size_t total = 1;
  for (const std::size_t w : widths) total += w + 3;
  std::string out = line(head_) + std::string(total - 1, '-') + "\n";
  for (const auto& row : rows_) out += line(row);
  return out;
}

std::string labelled(std::string_view label, std::string_view value, std::size_t width) {
  return fmt::format("{}{}\n", pad(fmt::format("{}:", label), width), printable(value));
}

std::size_t text_width(const Context& context) {
  static constexpr std::size_t kLeast = 60, kPipe = 80;
  return context.terminal.out ? std::max<std::size_t>(context.terminal.columns, kLeast) : kPipe;
}

void print_json(Context& context, const Json& document) {
  context.sink.out(document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void print_result(Context& context, std::string_view text, const Json& json) {
  if (context.json())
    print_json(context, json);
  else
    context.sink.out(text);
}

void print_document(Context& context, const std::string& field, std::string_view text) {
  const std::string_view body = text.substr(0, text.find_last_not_of('\n') + 1);
  std::string whole;
  if (context.terminal.out) {
    for (const std::string_view line : split(body, '\n')) whole += escaped(line, kMostShown) + "\n";
  } else {
    whole = std::string(body) + "\n";
  }
  print_result(context, whole, {{field, text}});
}

Json error_json(const Error& e) {
  const ErrorEntry& row = entry(e.id);
  Json json = {{"id", row.id}, {"exit", static_cast<int>(e.exit())}, {"message", e.message}};
  if (e.side != Side::none) json["side"] = name(e.side);
  if (!e.phase.empty()) json["phase"] = e.phase;
  if (!row.causes.empty()) json["causes"] = row.causes;
  if (!e.remedy_text().empty()) json["remedy"] = e.remedy_text();
  if (e.wire != WireCode{}) json["libvirt"] = {{"code", e.wire.code}, {"domain", e.wire.domain}};
  if (!e.notes.empty()) json["notes"] = e.notes;
  return json;
}

void print_error(Sink& sink, Format format, const Terminal& terminal, const Error& e) {
  if (format == Format::json) {
    const Json document = {{"error", error_json(e)}};
    sink.out(document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  const bool colour = terminal.colour && terminal.err;
  const std::string_view on = colour ? "\x1b[1;31m" : "", off = colour ? "\x1b[0m" : "";
  // A pipe gets each of them on one line, for those who look for words in it.
  const std::size_t width = terminal.err ? std::max(terminal.columns, 60U) - 4 : std::string::npos;
  const auto line = [&](std::string_view text) { return wrap(printable(text), width, 4); };
  std::string out = fmt::format("{}error:{} {}{}\n", on, off, where(e), printable(e.message, true));
  for (const std::string& note : e.notes) out += fmt::format("  {}\n", line(note));
  if (!e.remedy_text().empty())
    out += fmt::format("  {}\n", line(fmt::format("remedy: {}", e.remedy_text())));
  if (e.id != ErrorId::usage)
    out += fmt::format("  ({}; see `vmferry explain {}`)\n", entry(e.id).id, entry(e.id).id);
  sink.err(out);
}

}  // namespace vmferry::cli
