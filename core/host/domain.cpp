#include "core/host/domain.hpp"

#include <fmt/format.h>

#include <array>

namespace vmferry {

std::string to_string(const Uuid& uuid) {
  std::string out;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", std::to_integer<unsigned>(uuid.bytes[i]));
  }
  return out;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid;
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const int value = hex_digit(c);
    if (value < 0 || digits == 32) return std::nullopt;
    auto& byte = uuid.bytes[digits++ / 2];
    byte = byte << 4 | static_cast<std::byte>(value);
  }
  if (digits != 32) return std::nullopt;
  return uuid;
}

std::string_view state_text(DomainState state) {
  static constexpr std::string_view names[] = {"no state",    "running",  "idle",    "paused",
                                               "in shutdown", "shut off", "crashed", "pmsuspended"};
  const auto i = static_cast<std::size_t>(state);
  return i < std::size(names) ? names[i] : "unknown state";
}

std::string_view reason_text(const DomainStatus& s) {
  // By state, then by reason: virDomain*Reason of libvirt-domain.h.
  using Row = std::array<std::string_view, 15>;
  static constexpr Row running = {"unknown",
                                  "booted",
                                  "migrated",
                                  "restored",
                                  "from snapshot",
                                  "unpaused",
                                  "migration canceled",
                                  "save canceled",
                                  "event wakeup",
                                  "crashed",
                                  "post-copy",
                                  "post-copy failed",
                                  "",
                                  "",
                                  ""};
  static constexpr Row paused = {
      "unknown",   "user",        "migrating",     "saving",           "dumping",
      "I/O error", "watchdog",    "from snapshot", "shutting down",    "creating snapshot",
      "crashed",   "starting up", "post-copy",     "post-copy failed", "api error"};
  static constexpr Row shutoff = {
      "unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot",
      "daemon",  "",         "",          "",        "",         "",      ""};
  static constexpr Row crashed = {"unknown", "panicked", "", "", "", "", "", "",
                                  "",        "",         "", "", "", "", ""};
  const Row* row = nullptr;
  if (s.state == DomainState::running) row = &running;
  if (s.state == DomainState::paused) row = &paused;
  if (s.state == DomainState::shutoff) row = &shutoff;
  if (s.state == DomainState::crashed) row = &crashed;
  const auto i = static_cast<std::size_t>(s.reason);
  if (!row || i >= row->size() || (*row)[i].empty()) return "unknown";
  return (*row)[i];
}

std::uint64_t JobStats::number(std::string_view field) const {
  for (const TypedParam& p : fields.items) {
    if (p.field != field) continue;
    if (const auto* u = std::get_if<std::uint64_t>(&p.value)) return *u;
    if (const auto* i = std::get_if<std::int32_t>(&p.value)) return *i < 0 ? 0 : *i;
    if (const auto* u32 = std::get_if<std::uint32_t>(&p.value)) return *u32;
    if (const auto* i64 = std::get_if<std::int64_t>(&p.value)) return *i64 < 0 ? 0 : *i64;
  }
  return 0;
}

}  // namespace vmferry
