#include "cli/complete.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/migrate_options.hpp"
#include "cli/parse.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/flags/check.hpp"
#include "core/flags/rules.hpp"

namespace vmferry::cli {

namespace {

class SlotFinder {
 public:
  explicit SlotFinder(std::span<const std::string> words) : words_(words) {}

  Slot run() {
    if (words_.empty()) return slot_;
    const auto before = words_.first(words_.size() - 1);
    for (const std::string& word : before) read(word);
    finish(words_.back());
    return slot_;
  }

 private:
  bool given(const Option& o) const {
    return std::ranges::any_of(slot_.given, [&](const auto& v) { return v.first == &o; });
  }
  const Option* find(std::string_view name) const {
    for (const Option* o : options())
      if (o->name == name || (o->letter != 0 && name == std::string(1, o->letter))) return o;
    if (slot_.command)
      for (const Option& p : slot_.command->positionals)
        if (p.name == name) return &p;
    return nullptr;
  }
  std::vector<const Option*> options() const {
    std::vector<const Option*> out;
    if (slot_.command) out = all_options(*slot_.command);
    for (const Option& o : global_options()) out.push_back(&o);
    return out;
  }
  void keep(const Option& o, std::string_view text) {
    if (o.name == "connect") slot_.connect = text;
    slot_.given.emplace_back(&o, text);
  }
  const Option* next_positional() const {
    if (!slot_.command) return nullptr;
    for (const Option& p : slot_.command->positionals)
      if (p.repeatable || !given(p)) return &p;
    for (const std::string_view name : slot_.command->legacy_positionals)
      if (const Option* o = find(name); o && !given(*o)) return o;
    return nullptr;
  }
  void read_option(std::string_view word) {
    const std::string_view bare = word.substr(word.starts_with("--") ? 2 : 1);
    const auto equals = bare.find('=');
    const std::string_view name = bare.substr(0, equals);
    if (const Option* o = find(name)) {
      if (o->metavar.empty())
        keep(*o, "yes");
      else if (equals != std::string_view::npos)
        keep(*o, bare.substr(equals + 1));
      else
        waiting_ = o;
      return;
    }
    if (name.starts_with("no-"))
      if (const Option* o = find(name.substr(3)); o && o->three_valued) keep(*o, "no");
  }
  void read(std::string_view word) {
    if (waiting_) {
      keep(*std::exchange(waiting_, nullptr), word);
    } else if (!only_positionals_ && word == "--") {
      only_positionals_ = true;
    } else if (!only_positionals_ && word.size() > 1 && word[0] == '-') {
      read_option(word);
    } else if (!slot_.command) {
      slot_.command = find_command(word);
      lost_ = !slot_.command;
    } else if (const Option* p = next_positional()) {
      keep(*p, word);
    }
  }
  void value(const Option* o, std::string_view prefix) {
    slot_.kind = o ? Slot::Kind::value : Slot::Kind::nothing;
    slot_.option = o;
    slot_.prefix = prefix;
  }
  void finish(std::string_view word) {
    const auto equals = word.find('=');
    if (lost_) {
      slot_.kind = Slot::Kind::nothing;
    } else if (waiting_) {
      value(waiting_, word);
    } else if (!only_positionals_ && word.starts_with("--") && equals != std::string_view::npos) {
      value(find(word.substr(2, equals - 2)), word.substr(equals + 1));
      slot_.before = word.substr(0, equals + 1);
    } else if (!only_positionals_ && word.starts_with('-')) {
      slot_.kind = Slot::Kind::option;
      slot_.prefix = word;
    } else if (!slot_.command) {
      slot_.kind = Slot::Kind::command;
      slot_.prefix = word;
    } else {
      value(next_positional(), word);
    }
  }

  std::span<const std::string> words_;
  Slot slot_;
  const Option* waiting_ = nullptr;
  bool only_positionals_ = false;
  bool lost_ = false;  // the command is unknown
};

bool is_migration_option(const Command& command, const Option& option) {
  const auto of = command.more_options ? command.more_options() : std::span<const Option>();
  return !of.empty() && &option >= &of.front() && &option <= &of.back();
}

// Whether this option can still be added: no rule of a flag's definition and no rule of the driver
// speaks against it.
class Allowed {
 public:
  Allowed(const Slot& slot, std::string_view uri) : command_(*slot.command) {
    for (const auto& [option, text] : slot.given)
      if (is_migration_option(command_, *option))
        chosen_[static_cast<Opt>(option->row)] = text == "no" ? Choice::no : Choice::yes;
    const Result<ConnectUri> parsed = parse_connect_uri(uri);
    if (!parsed) return;
    const DriverRules& rules = rules_of(parsed->driver, uri);
    if (rules.cannot.empty()) rules_ = &rules;
  }

  bool operator()(const Option& option, bool negated) const {
    if (!is_migration_option(command_, option)) return true;
    const auto id = static_cast<Opt>(option.row);
    if (!negated && rules_ && (is_flag(id) || is_param(id)) &&
        ruling(*rules_, id, true, 0).stance == Stance::refused &&
        ruling(*rules_, id, false, 0).stance == Stance::refused)
      return false;
    Chosen with = chosen_;
    with[id] = negated ? Choice::no : Choice::yes;
    // What is still missing can be typed later; only new collisions count.
    std::size_t collisions = 0;
    for (const Objection& o : check_relations(with, false, Source::command))
      if (o.other && with.yes(*o.other)) ++collisions;
    std::size_t before = 0;
    for (const Objection& o : check_relations(chosen_, false, Source::command))
      if (o.other && chosen_.yes(*o.other)) ++before;
    return collisions <= before;
  }

 private:
  const Command& command_;
  Chosen chosen_;
  const DriverRules* rules_ = nullptr;
};

std::vector<Candidate> option_candidates(const Slot& slot, std::string_view uri) {
  std::vector<Candidate> out;
  const auto was_given = [&](const Option& o) {
    return !o.repeatable &&
           std::ranges::any_of(slot.given, [&](const auto& v) { return v.first == &o; });
  };
  if (slot.command) {
    const Allowed allowed(slot, uri);
    for (const Option* o : all_options(*slot.command)) {
      if (o->hidden || was_given(*o)) continue;
      if (allowed(*o, false)) out.push_back({fmt::format("--{}", o->name), std::string(o->help)});
      const bool wanted = o->three_valued && slot.prefix.starts_with("--n");
      if (wanted && allowed(*o, true))
        out.push_back({fmt::format("--no-{}", o->name), fmt::format("not: {}", o->help)});
    }
  }
  for (const Option& o : global_options())
    if (!was_given(o)) out.push_back({fmt::format("--{}", o.name), std::string(o.help)});
  return out;
}

std::vector<Candidate> value_candidates(const Option& o) {
  std::vector<Candidate> out;
  for (const std::string_view choice : split(o.choices, '|'))
    if (!choice.empty()) out.push_back({std::string(choice), ""});
  if (o.complete == Complete::command)
    for (const Command* c : commands())
      if (!c->hidden) out.push_back({std::string(c->name), std::string(c->summary)});
  if (o.complete == Complete::error_id)
    for (const ErrorEntry& e : error_entries())
      out.push_back({std::string(e.id), std::string(e.summary)});
  if (o.complete == Complete::driver)
    for (const DriverRules* r : all_rules())
      out.push_back({std::string(r->name), std::string(r->title)});
  if (o.complete == Complete::flag)
    for (const OptRow& r : opt_rows()) out.push_back({std::string(r.option), std::string(r.help)});
  if (o.complete == Complete::uri || o.complete == Complete::destination)
    for (const char* uri : {"qemu:///system", "qemu:///session", "test:///default"})
      if (o.complete == Complete::uri) out.push_back({uri, ""});
  return out;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  while (true) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return out;
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(" \t\r"), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

}  // namespace

Slot find_slot(std::span<const std::string> words) { return SlotFinder(words).run(); }

std::vector<Candidate> static_candidates(const Slot& slot, std::string_view uri) {
  std::vector<Candidate> all;
  if (slot.kind == Slot::Kind::command)
    for (const Command* c : commands())
      if (!c->hidden) all.push_back({std::string(c->name), std::string(c->summary)});
  if (slot.kind == Slot::Kind::option) all = option_candidates(slot, uri);
  if (slot.kind == Slot::Kind::value) all = value_candidates(*slot.option);
  std::erase_if(all, [&](const Candidate& c) { return !c.word.starts_with(slot.prefix); });
  return all;
}

std::vector<std::string> known_host_names(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view line : split(text, '\n')) {
    const auto words = words_of(line);
    if (words.size() < 3 || words[0].starts_with('#') || words[0].starts_with('@')) continue;
    for (const std::string_view name : split(words[0], ','))
      if (!name.empty() && name.find_first_of("|*?![:") == std::string_view::npos)
        out.emplace_back(name);
  }
  return out;
}

std::vector<std::string> ssh_config_hosts(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view line : split(text, '\n')) {
    const auto words = words_of(line);
    if (words.size() < 2 || lower(words[0]) != "host") continue;
    for (std::size_t i = 1; i < words.size(); ++i)
      if (words[i].find_first_of("*?!\"") == std::string_view::npos) out.emplace_back(words[i]);
  }
  return out;
}

}  // namespace vmferry::cli
