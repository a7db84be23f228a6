// complete: what a shell may offer next. Hidden; silent whatever goes wrong, because a complaint in
// the middle of somebody's command line helps nobody.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "cli/complete.hpp"
#include "cli/connect.hpp"
#include "cli/output.hpp"
#include "core/async/race.hpp"

namespace vmferry::cli {

namespace {

constexpr Micros kPatience = std::chrono::milliseconds(300);  // a person waits for the shell
constexpr std::size_t kMostFile = std::size_t{1} << 20;

struct Options {
  std::vector<std::string> words;
};
constexpr Option kWords[] = {option<&Options::words>(
    {.name = "words", .metavar = "WORD", .help = "the words so far, the unfinished one last"})};

std::string read_some(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMostFile, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::vector<std::string> ssh_hosts(const Context& context) {
  const std::string home = context.environment("HOME").value_or("");
  std::vector<std::string> out = ssh_config_hosts(read_some(home + "/.ssh/config"));
  for (const std::string& file :
       {home + "/.ssh/known_hosts", std::string("/etc/ssh/ssh_known_hosts")})
    for (std::string& name : known_host_names(read_some(file))) out.push_back(std::move(name));
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Task<std::vector<ListedDomain>> ask_domains(Context& context, bool active, bool inactive) {
  const std::unique_ptr<Host> host = co_await connect(context);
  std::vector<ListedDomain> domains = co_await host->list(active, inactive);
  co_await host->close();
  co_return domains;
}

Task<std::vector<Candidate>> domains(Context& context, Complete kind) {
  const bool active = kind != Complete::inactive_domain;
  const bool inactive = kind != Complete::active_domain;
  auto asking = ask_domains(context, active, inactive);
  auto answer = co_await within(context.clock, kPatience, std::move(asking));
  std::vector<Candidate> out;
  if (!answer) co_return out;
  for (const ListedDomain& d : *answer)
    out.push_back({d.domain.name, std::string(state_text(d.status.state))});
  co_return out;
}

Task<std::vector<Candidate>> values(Context& context, const Slot& slot) {
  Complete kind = slot.option->complete;
  // A stopped domain moves too, by its definition, if that was said.
  for (const auto& [option, text] : slot.given)
    if (kind == Complete::active_domain && option->name == "offline" && text == "yes")
      kind = Complete::domain;
  std::vector<Candidate> out;
  if (kind == Complete::file) out.push_back({":file", ""});
  if (kind == Complete::destination || kind == Complete::uri) {
    for (const std::string& host : ssh_hosts(context)) {
      if (kind == Complete::destination) out.push_back({host, "over ssh"});
      out.push_back({fmt::format("qemu+ssh://{}/system", host), ""});
    }
  }
  const bool domain = kind == Complete::domain || kind == Complete::active_domain ||
                      kind == Complete::inactive_domain;
  if (domain) out = co_await domains(context, kind);
  co_return out;
}

Task<> offer(Context& context, std::vector<std::string> words) {
  const Slot slot = find_slot(words);
  if (!slot.connect.empty()) context.uri = slot.connect;
  std::vector<Candidate> all =
      static_candidates(slot, context.uri.empty() ? "qemu:///system" : context.uri);
  if (slot.kind == Slot::Kind::value) {
    const std::vector<Candidate> asked = co_await values(context, slot);
    for (const Candidate& c : asked)
      if (c.word.starts_with(slot.prefix) || c.word == ":file") all.push_back(c);
  }
  std::string out;
  for (const Candidate& c : all)
    if (c.word.find_first_of("\n\t") == std::string::npos)
      out += fmt::format("{}{}\t{}\n", c.word == ":file" ? "" : slot.before, printable(c.word),
                         c.help);
  context.sink.out(out);
}

Task<Exit> complete(Context& context, Options options) {
  Task<> offering = offer(context, std::move(options.words));
  const Result<> result = co_await settle(std::move(offering));
  co_return result ? Exit::done : result.error().exit();
}

}  // namespace

extern constexpr Command kComplete =
    command<Options, complete>({.name = "complete",
                                .group = "Help",
                                .summary = "offer what may come next on a command line",
                                .description = "Prints one candidate a line, a tab, and its help; "
                                               "\":file\" stands for the names of files.",
                                .positionals = kWords,
                                .hidden = true});
static_assert(well_formed(kComplete));

}  // namespace vmferry::cli
