#include "cli/migrate_options.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "cli/context.hpp"

namespace vmferry::cli {

namespace {

constexpr std::size_t kMaxFile = std::size_t{4} << 20;  // libvirt's limit of a string

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxFile + 1, '\0');
  if (!in) return fail(ErrorId::usage, fmt::format("{}: {}", path, std::strerror(errno)));
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad() || text.empty())
    return fail(ErrorId::usage, fmt::format("{}: nothing to read", path));
  return text;
}

/// The message without the option's name, which the caller puts in front.
Result<> plain(Result<> result, const OptRow& r) {
  if (result) return result;
  const std::string prefix = fmt::format("--{}: ", r.option);
  Error error = std::move(result).error();
  if (error.message.starts_with(prefix)) error.message.erase(0, prefix.size());
  return std::unexpected(std::move(error));
}

Result<> store_row(void* options, const Option& option, std::string_view text) {
  Draft& draft = static_cast<MigrateOptions*>(options)->draft;
  const auto id = static_cast<Opt>(option.row);
  const OptRow& r = row(id);
  if (r.type == ValueType::boolean)
    return plain(draft.choose(id, text == "no" ? Choice::no : Choice::yes), r);
  if (r.type != ValueType::file) return plain(draft.set(id, text), r);
  const Result<std::string> content = read_file(std::string(text));
  if (!content) return std::unexpected(content.error());
  return plain(draft.set(id, *content), r);
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
  for (int group = 0; group < kOptGroups; ++group)
    for (const OptRow& r : opt_rows()) {
      if (std::to_underlying(r.group) != group) continue;
      all.push_back(as_option(r, r.option, false));
      if (!r.alias.empty()) all.push_back(as_option(r, r.alias, true));
    }
  return all;
}

}  // namespace

Result<> MigrateOptions::check() const {
  if (chosen(Opt::dry_run)) return {};
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
