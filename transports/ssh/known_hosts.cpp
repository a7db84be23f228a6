#include "transports/ssh/known_hosts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "transports/ssh/crypto.hpp"

namespace vmferry {
namespace {

constexpr std::size_t kLongestFile = 16 << 20;
constexpr std::size_t kMostEntries = 100000;

// "*" and "?", as in a shell but without classes. Linear in practice: only the last "*" is retried.
bool wildcard_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool hash_match(std::string_view field, std::string_view name) {
  const auto parts = split(field, '|');  // "", "1", salt, hash
  if (parts.size() != 4 || parts[1] != "1") return false;
  const auto salt = unbase64(parts[2]);
  const auto hash = unbase64(parts[3]);
  return salt && hash && hash->size() == 20 && hmac_sha1(*salt, name) == *hash;
}

std::string_view take_word(std::string_view& line) {
  line = trimmed(line);
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

std::string key_type(std::string_view blob) {
  if (blob.size() < 4) return {};
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(blob[i]);
  if (length == 0 || length > 64 || length > blob.size() - 4) return {};
  return std::string(blob.substr(4, length));
}

std::string known_name(std::string_view host, std::uint16_t port) {
  const std::string name = lower(host);
  return port == 22 || port == 0 ? name : fmt::format("[{}]:{}", name, port);
}

bool names_match(std::string_view field, std::string_view known_name) {
  if (field.starts_with('|')) return hash_match(field, known_name);
  bool found = false;
  for (const std::string_view item : split(field, ',')) {
    const bool negated = item.starts_with('!');
    const std::string pattern = lower(negated ? item.substr(1) : item);
    if (pattern.empty() || !wildcard_match(pattern, known_name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

void KnownHosts::add(std::string_view text, const std::string& file) {
  int number = 0;
  for (const std::string_view line : split(text.substr(0, kLongestFile), '\n'))
    add_line(line, file, ++number);
}

void KnownHosts::add_line(std::string_view line, const std::string& file, int number) {
  if (entries_.size() >= kMostEntries) return;
  std::string_view names = take_word(line);
  bool revoked = false;
  if (names.starts_with('#') || names.empty()) return;
  if (names.starts_with('@')) {
    if (names != "@revoked") return;
    revoked = true;
    names = take_word(line);
  }
  const std::string type(take_word(line));
  const auto blob = unbase64(take_word(line));
  if (!blob || key_type(*blob) != type) return;
  entries_.push_back({std::string(names), file, number, revoked, {type, *blob}});
}

HostKeyAnswer KnownHosts::check_name(const std::string& name, const HostKey& key) const {
  HostKeyAnswer answer;
  for (const Entry& entry : entries_) {
    if (!names_match(entry.names, name)) continue;
    const bool same = entry.key.blob == key.blob;
    if (entry.revoked) {
      if (same) return {HostKeyVerdict::revoked, entry.file, entry.line};
      continue;
    }
    const HostKeyVerdict verdict = same                         ? HostKeyVerdict::match
                                   : entry.key.type == key.type ? HostKeyVerdict::changed
                                                                : HostKeyVerdict::other_type;
    const auto rank = [](HostKeyVerdict v) {
      return v == HostKeyVerdict::match ? 3 : v == HostKeyVerdict::changed ? 2 : 1;
    };
    const bool better = answer.line == 0 || rank(verdict) > rank(answer.verdict);
    if (better) answer = {verdict, entry.file, entry.line};
  }
  return answer;
}

HostKeyAnswer KnownHosts::check(std::string_view host, std::uint16_t port,
                                const HostKey& key) const {
  const HostKeyAnswer answer = check_name(known_name(host, port), key);
  if (port == 22 || port == 0) return answer;
  const HostKeyAnswer plain = check_name(known_name(host, 22), key);
  if (plain.verdict == HostKeyVerdict::revoked) return plain;
  if (answer.verdict == HostKeyVerdict::unknown && plain.verdict == HostKeyVerdict::match)
    return plain;
  return answer;
}

std::vector<std::string> KnownHosts::types(std::string_view host, std::uint16_t port) const {
  std::vector<std::string> out;
  for (const std::string& name : {known_name(host, port), known_name(host, 22)})
    for (const Entry& entry : entries_)
      if (!entry.revoked && names_match(entry.names, name) &&
          std::ranges::find(out, entry.key.type) == out.end())
        out.push_back(entry.key.type);
  return out;
}

}  // namespace vmferry
