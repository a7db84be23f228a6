// From text to the types that options have.
#include <fmt/format.h>

#include <charconv>

#include "cli/spec.hpp"

namespace vmferry::cli {

Result<> parse_value(std::string_view text, bool& out) {
  out = text == "yes";
  return {};
}

Result<> parse_value(std::string_view text, Choice& out) {
  out = text == "yes" ? Choice::yes : Choice::no;
  return {};
}

Result<> parse_value(std::string_view text, std::string& out) {
  if (text.find('\0') != std::string_view::npos) return fail(ErrorId::usage, "contains a NUL");
  out = text;
  return {};
}

template <class T>
static Result<> parse_number(std::string_view text, T& out) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (code == std::errc::result_out_of_range)
    return fail(ErrorId::usage, fmt::format("'{}' is out of range", text));
  if (code != std::errc{} || end != text.data() + text.size() || text.empty())
    return fail(ErrorId::usage, fmt::format("'{}' is not a number", text));
  return {};
}

Result<> parse_value(std::string_view text, std::uint32_t& out) { return parse_number(text, out); }
Result<> parse_value(std::string_view text, std::uint64_t& out) { return parse_number(text, out); }
Result<> parse_value(std::string_view text, std::int64_t& out) { return parse_number(text, out); }

Error detail::bad_value(const Option& option, const Error& why) {
  Error error(why.id, fmt::format("--{}: {}", option.name, why.message));
  error.remedy = why.remedy;
  return error;
}

}  // namespace vmferry::cli
