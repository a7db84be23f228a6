#include "core/migrate/draft.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/flags/rules.hpp"

namespace vmferry {

namespace {

constexpr std::size_t kMaxText = std::size_t{4} << 20;  // libvirt: REMOTE_STRING_MAX
constexpr std::size_t kMaxEntries = 64;                 // libvirt: typed parameters of one call

std::unexpected<Error> usage(std::string text) { return fail(ErrorId::usage, std::move(text)); }

Result<std::int64_t> parse_number(const OptRow& r, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec == std::errc::invalid_argument || end != text.data() + text.size())
    return usage(fmt::format("--{}: '{}' is not a number", r.option, text));
  if (ec == std::errc::result_out_of_range || value < r.min || value > r.max)
    return usage(fmt::format("--{}: {} is not within {} to {}", r.option, text, r.min, r.max));
  return value;
}

Result<> add_list(const OptRow& r, std::string_view text, Params& params) {
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view word = rest.substr(0, comma);
    rest = more ? rest.substr(comma + 1) : std::string_view();
    if (word.empty()) return usage(fmt::format("--{}: an entry of '{}' is empty", r.option, text));
    if (!r.values.empty() && !among(r.values, word))
      return usage(fmt::format("--{}: '{}' is not one of: {}", r.option, word, r.values));
    for (const TypedParam& p : params.items)
      if (p.field == r.name && std::get<std::string>(p.value) == word)
        return usage(fmt::format("--{}: '{}' is named twice", r.option, word));
    params.add(r.name, std::string(word));
    if (params.items.size() > kMaxEntries)
      return usage(fmt::format("--{}: more than {} entries", r.option, kMaxEntries));
  }
  return {};
}

TimeoutAction action(const Chosen& chosen) {
  if (chosen.yes(Opt::timeout_abort)) return TimeoutAction::abort;
  if (chosen.yes(Opt::timeout_postcopy)) return TimeoutAction::postcopy;
  return TimeoutAction::suspend;
}

}  // namespace

Result<> Draft::choose(Opt option, Choice choice) {
  const OptRow& r = row(option);
  if (r.type != ValueType::boolean)
    return usage(fmt::format("--{} needs a value: {}", r.option, r.metavar));
  if (choice == Choice::no && !r.three_valued)
    return usage(fmt::format("--no-{} does not exist", r.option));
  if (!chosen_.unset(option) && chosen_[option] != choice)
    return usage(fmt::format("--{0} and --no-{0} contradict each other", r.option));
  chosen_[option] = choice;
  return {};
}

Result<> Draft::set(Opt option, std::string_view value) {
  const OptRow& r = row(option);
  if (value.size() > kMaxText) return usage(fmt::format("--{}: more than 4 MiB", r.option));
  if (value.contains('\0')) return usage(fmt::format("--{}: holds a zero byte", r.option));
  if (r.type == ValueType::boolean) return usage(fmt::format("--{} takes no value", r.option));
  chosen_[option] = Choice::yes;
  if (r.type == ValueType::list) return add_list(r, value, params_);
  if (r.type == ValueType::text || r.type == ValueType::file) {
    if (value.empty()) return usage(fmt::format("--{} is empty", r.option));
    params_.set(r.name, std::string(value));
    return {};
  }
  const Result<std::int64_t> number = parse_number(r, value);
  if (!number) return std::unexpected(number.error());
  if (option == Opt::timeout) timeout_s_ = *number;
  if (option == Opt::max_freeze) max_freeze_s_ = *number;
  if (r.type == ValueType::seconds) {
    if (*number == 0) chosen_[option] = Choice::unset;
    return {};
  }
  // 0 is "the default" of limits and ports: nothing is sent, as virsh does for --disks-port.
  if (*number == 0 && (r.type == ValueType::uint64 || option == Opt::disks_port)) {
    params_.remove(r.name);
    chosen_[option] = Choice::unset;
  } else if (r.type == ValueType::uint64) {
    params_.set(r.name, static_cast<std::uint64_t>(*number));
  } else {
    params_.set(r.name, static_cast<std::int32_t>(*number));
  }
  return {};
}

std::vector<Objection> Draft::objections() const {
  std::vector<Objection> out = check_relations(chosen_, chosen_.yes(Opt::strict), Source::command);
  for (Objection& o : check_methods(chosen_, params_, Source::command)) out.push_back(std::move(o));
  return out;
}

Result<Request> Draft::request() const {
  const std::vector<Objection> wrong = objections();
  if (!wrong.empty()) {
    Error error(ErrorId::usage, wrong.front().reason);
    error.remedy = wrong.front().remedy;
    for (const Objection& o : std::span(wrong).subspan(1)) error.note(o.reason);
    return std::unexpected(std::move(error));
  }
  return unchecked();
}

Request Draft::unchecked() const {
  Request request{.domain = domain, .source = source, .destination = destination};
  for (int i = 0; i < kFlagCount; ++i) request.flags[i] = chosen_.of[i];
  request.params = params_;
  request.direct = chosen_.yes(Opt::direct);
  if (chosen_.yes(Opt::timeout))
    request.timeout = Timeout{std::chrono::seconds(timeout_s_), action(chosen_)};
  request.postcopy_after_precopy = chosen_.yes(Opt::postcopy_after_precopy);
  request.p2p_any_uri = chosen_.yes(Opt::p2p_any_uri);
  if (chosen_.yes(Opt::max_freeze)) request.max_freeze = std::chrono::seconds(max_freeze_s_);
  request.strict = chosen_.yes(Opt::strict);
  request.trust_host = chosen_.yes(Opt::trust_host);
  return request;
}

Chosen chosen(const Request& request) {
  Chosen out;
  for (int i = 0; i < kFlagCount; ++i) out.of[i] = request.flags[i];
  const auto given = [&](Opt o, bool is) { out[o] = is ? Choice::yes : Choice::unset; };
  for (const OptRow& r : opt_rows())
    if (is_param(r.id)) given(r.id, request.params.has(r.name));
  given(Opt::direct, request.direct);
  given(Opt::timeout, request.timeout.has_value());
  if (request.timeout) {
    given(Opt::timeout_abort, request.timeout->action == TimeoutAction::abort);
    given(Opt::timeout_postcopy, request.timeout->action == TimeoutAction::postcopy);
  }
  given(Opt::postcopy_after_precopy, request.postcopy_after_precopy);
  given(Opt::p2p_any_uri, request.p2p_any_uri);
  given(Opt::max_freeze, request.max_freeze.has_value());
  given(Opt::strict, request.strict);
  given(Opt::trust_host, request.trust_host);
  return out;
}

}  // namespace vmferry
