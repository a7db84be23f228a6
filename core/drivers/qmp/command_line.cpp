#include "core/drivers/qmp/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/option_value.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::size_t kMostWords = 4096;

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  Result<Words> all() {
    while (at_ < text_.size()) {
      const Result<> taken = take();
      if (!taken) return std::unexpected(taken.error());
      if (words_.size() > kMostWords)
        return fail(ErrorId::usage, "a command line of too many words");
    }
    end_word();
    return std::move(words_);
  }

 private:
  Result<> take() {
    const char c = text_[at_++];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      end_word();
    } else if (c == '#' && !in_word_) {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (c == '\\' && at_ < text_.size()) {
      const char next = text_[at_++];
      if (next != '\n') add(next);
    } else if (c == '\'' || c == '"') {
      return quoted(c);
    } else {
      add(c);
    }
    return {};
  }

  Result<> quoted(char quote) {
    in_word_ = true;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == quote) return {};
      const bool escapes = c == '\\' && quote == '"' && at_ < text_.size();
      word_ += escapes ? text_[at_++] : c;
    }
    return fail(ErrorId::usage, "a quote in the command line is not closed");
  }

  void add(char c) {
    in_word_ = true;
    word_ += c;
  }
  void end_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Words words_;
  std::string word_;
  bool in_word_ = false;
};

// Pieces between single commas; ",," is a comma in a value.
std::vector<std::string> pieces(std::string_view value) {
  std::vector<std::string> out(1);
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != ',') {
      out.back() += value[i];
    } else if (i + 1 < value.size() && value[i + 1] == ',') {
      out.back() += ',';
      ++i;
    } else {
      out.emplace_back();
    }
  }
  return out;
}

void remove_option(Words& argv, std::string_view name) {
  for (std::size_t i = 1; i + 1 < argv.size();) {
    if (option_name(argv[i]) == name)
      argv.erase(argv.begin() + static_cast<std::ptrdiff_t>(i),
                 argv.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    else
      ++i;
  }
}

}  // namespace

bool is_flag(std::string_view option) {
  static constexpr std::array<std::string_view, 30> flags{"S",
                                                          "s",
                                                          "daemonize",
                                                          "nographic",
                                                          "snapshot",
                                                          "enable-kvm",
                                                          "no-reboot",
                                                          "no-shutdown",
                                                          "full-screen",
                                                          "usb",
                                                          "nodefaults",
                                                          "no-user-config",
                                                          "no-acpi",
                                                          "no-hpet",
                                                          "singlestep",
                                                          "mem-prealloc",
                                                          "preconfig",
                                                          "portrait",
                                                          "no-quit",
                                                          "h",
                                                          "help",
                                                          "version",
                                                          "only-migratable",
                                                          "semihosting",
                                                          "no-fd-bootchk",
                                                          "win2k-hack",
                                                          "old-param",
                                                          "alt-grab",
                                                          "ctrl-grab",
                                                          "xen-attach"};
  return std::ranges::find(flags, option) != flags.end();
}

Result<Words> split_words(std::string_view text) { return Splitter(text).all(); }

std::optional<std::string> value_of(const Words& argv, std::string_view name,
                                    std::string_view other_name) {
  std::optional<std::string> found;
  for (std::size_t i = 1; i + 1 < argv.size(); ++i) {
    const std::string_view option = option_name(argv[i]);
    if (option == name || (!other_name.empty() && option == other_name)) found = argv[i + 1];
  }
  return found;
}

bool has_option(const Words& argv, std::string_view name) {
  return std::ranges::any_of(argv, [&](const std::string& w) { return option_name(w) == name; });
}

std::optional<std::string> sub_option(std::string_view value, std::string_view key) {
  for (const std::string& piece : pieces(value)) {
    const std::size_t equals = piece.find('=');
    if (key.empty() && equals == std::string::npos) return piece;
    if (equals != std::string::npos && !key.empty() && piece.substr(0, equals) == key)
      return piece.substr(equals + 1);
  }
  return std::nullopt;
}

void pin_machine(Words& argv, const std::string& type) {
  bool pinned = false;
  for (std::size_t i = 1; i + 1 < argv.size(); ++i) {
    const std::string_view option = option_name(argv[i]);
    if (option != "machine" && option != "M") continue;
    std::string& value = argv[i + 1];
    std::string rest;
    bool first = true;
    for (const std::string& piece : pieces(value)) {
      const bool names_it =
          piece.starts_with("type=") || (first && piece.find('=') == std::string::npos);
      first = false;
      if (!names_it) rest += (rest.empty() ? "" : ",") + piece;
    }
    value = pinned ? rest : fmt::format("{}{}{}", type, rest.empty() ? "" : ",", rest);
    pinned = true;
  }
  if (pinned) return;
  argv.emplace_back("-machine");
  argv.push_back(type);
}

void set_identity(Words& argv, const std::string& name, const std::string& uuid) {
  const std::string given = value_of(argv, "name").value_or("");
  std::string rest;
  bool first = true;
  for (const std::string& piece : pieces(given)) {
    const bool names_it =
        piece.starts_with("guest=") || (first && piece.find('=') == std::string::npos);
    first = false;
    if (!names_it && !piece.empty()) rest += "," + piece;
  }
  std::string doubled;
  for (const char c : name) doubled += c == ',' ? std::string(",,") : std::string(1, c);
  remove_option(argv, "name");
  remove_option(argv, "uuid");
  argv.insert(argv.begin() + 1, {"-name", fmt::format("guest={}{}", doubled, rest), "-uuid", uuid});
}

Ram ram_of(const Words& argv) {
  Ram ram;
  const std::string value = value_of(argv, "m").value_or("128");
  const std::string size =
      sub_option(value, "size").value_or(sub_option(value, "").value_or("128"));
  ram.bytes = parse_size(size, kMiB).value_or(0);
  const std::string machine = value_of(argv, "machine", "M").value_or("");
  const std::string_view program = std::string_view(argv[0]).substr(argv[0].rfind('/') + 1);
  if (ram.bytes == 0 || ram.bytes % 4096 != 0)
    ram.own = "its size cannot be read";
  else if (machine.find("memory-backend=") != std::string::npos)
    ram.own = "-machine names a memory backend";
  else if (has_option(argv, "numa"))
    ram.own = "-numa divides it";
  else if (has_option(argv, "mem-path") || has_option(argv, "mem-prealloc"))
    ram.own = "-mem-path or -mem-prealloc places it";
  else if (program.find("x86_64") == std::string_view::npos &&
           program.find("i386") == std::string_view::npos)
    ram.own = "the name of its block is not known for this architecture";
  else if (value_of(argv, "object").value_or("").find("id=pc.ram") != std::string::npos)
    ram.own = "-object makes it";
  return ram;
}

// The backend has the name that QEMU gives to plain -m RAM on PCs, so that either kind fits the
// other. A backend of type file: QEMU 10 hands over no other (x-ignore-shared skips only these).
void share_ram(Words& argv, std::uint64_t bytes, int descriptor, bool private_view) {
  argv.emplace_back("-object");
  argv.push_back(
      fmt::format("memory-backend-file,id=pc.ram,size={},mem-path=/proc/self/fd/{},share={}", bytes,
                  descriptor, private_view ? "off" : "on"));
  argv.emplace_back("-machine");
  argv.emplace_back("memory-backend=pc.ram");
}

std::vector<std::string> not_startable(const Words& argv) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 8> refused{{
      {"daemonize", "QEMU is put into the background by vmferry itself"},
      {"incoming", "vmferry decides when a guest comes in"},
      {"S", "use `start --paused`"},
      {"pidfile", "vmferry keeps the pid; a file of that name can belong to one process only"},
      {"loadvm", "a snapshot cannot be loaded beside an incoming guest"},
      {"preconfig", "its monitor waits for commands that vmferry does not send"},
      {"chroot", "the guest's files could not be found again by a second process"},
      {"runas", "its user could not open vmferry's descriptors"},
  }};
  std::vector<std::string> out;
  if (argv.empty()) out.emplace_back("the command line is empty");
  for (const auto& [name, why] : refused)
    if (has_option(argv, name)) out.push_back(fmt::format("-{}: {}", name, why));
  return out;
}

}  // namespace vmferry::qmp
