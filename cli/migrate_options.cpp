#include "cli/migrate_options.hpp"

#include <array>

#include "cli/context.hpp"

namespace vmferry::cli {

namespace {

Result<> store_row(void* options, const Option& option, std::string_view text) {
  Draft& draft = static_cast<MigrateOptions*>(options)->draft;
  const auto id = static_cast<Opt>(option.row);
  if (row(id).type != ValueType::boolean) return draft.set(id, text);
  return draft.choose(id, text == "no" ? Choice::no : Choice::yes);
}

Option as_option(const OptRow& r, std::string_view spelling, bool hidden) {
  Option o;
  o.name = spelling;
  o.metavar = r.metavar;
  o.help = r.help;
  o.group = title(r.group);
  o.three_valued = r.three_valued;
  o.repeatable = r.type == ValueType::list;
  o.hidden = hidden;
  if (r.type == ValueType::file) o.complete = Complete::file;
  o.row = static_cast<std::uint32_t>(r.id);
  o.store = store_row;
  return o;
}

std::vector<Option> make_options() {
  std::vector<Option> all;
  for (const OptRow& r : opt_rows()) {
    all.push_back(as_option(r, r.option, false));
    if (!r.alias.empty()) all.push_back(as_option(r, r.alias, true));
  }
  return all;
}

}  // namespace

Result<> MigrateOptions::check() const {
  Result<Request> request = draft.request();
  if (!request) return std::unexpected(std::move(request).error());
  return {};
}

std::span<const Option> migrate_table_options() {
  static const std::vector<Option> all = make_options();
  return all;
}

Request request_of(const Context& context, MigrateOptions options) {
  options.draft.source = connection_uri(context);
  return value_or_throw(options.draft.request());
}

}  // namespace vmferry::cli
