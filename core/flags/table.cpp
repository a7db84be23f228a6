#include "core/flags/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

namespace vmferry {

namespace {

constexpr auto v = libvirt_version;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMaxMibPerSecond = kMax >> 20;  // libvirt counts bytes/s in 63 bits

constexpr OptRow flag(Opt id, std::string_view name, std::string_view option, OptGroup group,
                      std::uint32_t since, std::string_view help, std::string_view alias = "") {
  return {id, name, option, alias, ValueType::boolean, true, "", group, since, 0, 0, "", help};
}
constexpr OptRow number(Opt id, std::string_view field, std::string_view option, ValueType type,
                        std::string_view metavar, OptGroup group, std::uint32_t since,
                        std::int64_t min, std::int64_t max, std::string_view help) {
  return {id, field, option, "", type, false, metavar, group, since, min, max, "", help};
}
constexpr OptRow words(Opt id, std::string_view field, std::string_view option, ValueType type,
                       std::string_view metavar, OptGroup group, std::uint32_t since,
                       std::string_view help, std::string_view values = "") {
  return {id, field, option, "", type, false, metavar, group, since, 0, 0, values, help};
}
constexpr OptRow local(Opt id, std::string_view option, OptGroup group, std::string_view help) {
  return {id, "", option, "", ValueType::boolean, false, "", group, 0, 0, 0, "", help};
}
constexpr OptRow local_seconds(Opt id, std::string_view option, OptGroup group,
                               std::string_view help) {
  return {id, "", option, "", ValueType::seconds, false, "SECONDS", group, 0, 0, 2147483, "", help};
}

using enum ValueType;
using G = OptGroup;
constexpr auto kRows = std::to_array<OptRow>({
    flag(Opt::live, "LIVE", "live", G::way, v(0, 3, 2),
         "keep the guest running while its memory is copied"),
    flag(Opt::peer2peer, "PEER2PEER", "p2p", G::way, v(0, 7, 2),
         "the source's daemon drives the destination itself"),
    flag(Opt::tunnelled, "TUNNELLED", "tunnelled", G::data, v(0, 7, 2),
         "send the guest through the daemons' own connection; needs --p2p", "tunneled"),
    flag(Opt::persist_dest, "PERSIST_DEST", "persistent", G::outcome, v(0, 7, 3),
         "keep the guest defined on the destination"),
    flag(Opt::undefine_source, "UNDEFINE_SOURCE", "undefinesource", G::outcome, v(0, 7, 3),
         "remove its definition from the source after success"),
    flag(Opt::paused, "PAUSED", "suspend", G::outcome, v(0, 7, 5),
         "leave the guest paused on the destination"),
    flag(Opt::non_shared_disk, "NON_SHARED_DISK", "copy-storage-all", G::storage, v(0, 8, 2),
         "copy whole disks"),
    flag(Opt::non_shared_inc, "NON_SHARED_INC", "copy-storage-inc", G::storage, v(0, 8, 2),
         "copy the top image of each disk; the bases are there already"),
    flag(Opt::change_protection, "CHANGE_PROTECTION", "change-protection", G::checks, v(0, 9, 4),
         "nobody may change the guest until the end (automatic where possible)"),
    flag(Opt::unsafe, "UNSAFE", "unsafe", G::checks, v(0, 9, 11),
         "move even if the disks' caching may lose data"),
    flag(Opt::offline, "OFFLINE", "offline", G::way, v(1, 0, 1),
         "move the definition only, without state"),
    flag(Opt::compressed, "COMPRESSED", "compressed", G::memory, v(1, 0, 3),
         "compress pages that are sent again"),
    flag(Opt::abort_on_error, "ABORT_ON_ERROR", "abort-on-error", G::checks, v(1, 1, 0),
         "give up if the guest meets a disk error meanwhile"),
    flag(Opt::auto_converge, "AUTO_CONVERGE", "auto-converge", G::memory, v(1, 2, 3),
         "slow the guest down until the copy catches up"),
    flag(Opt::rdma_pin_all, "RDMA_PIN_ALL", "rdma-pin-all", G::memory, v(1, 2, 9),
         "pin all memory at the start (rdma: URIs)"),
    flag(Opt::postcopy, "POSTCOPY", "postcopy", G::postcopy, v(1, 3, 3),
         "allow the switch to post-copy (does not switch by itself)"),
    flag(Opt::tls, "TLS", "tls", G::data, v(3, 2, 0), "encrypt the hypervisors' data connection"),
    flag(Opt::parallel, "PARALLEL", "parallel", G::memory, v(5, 2, 0),
         "send memory over several connections"),
    flag(Opt::non_shared_synchronous_writes, "NON_SHARED_SYNCHRONOUS_WRITES",
         "copy-storage-synchronous-writes", G::storage, v(8, 0, 0),
         "guest writes wait for both copies of a disk"),
    flag(Opt::postcopy_resume, "POSTCOPY_RESUME", "postcopy-resume", G::postcopy, v(8, 5, 0),
         "go on with a broken post-copy migration"),
    flag(Opt::zerocopy, "ZEROCOPY", "zerocopy", G::memory, v(8, 5, 0),
         "send memory without copying it first; needs --parallel"),

    words(Opt::migrate_uri, "migrate_uri", "migrateuri", text, "URI", G::data, v(1, 1, 0),
          "where memory goes: a URI, or an address as the source sees it"),
    words(Opt::destination_name, "destination_name", "dname", text, "NAME", G::outcome, v(1, 1, 0),
          "the guest's name on the destination"),
    words(Opt::destination_xml, "destination_xml", "xml", file, "FILE", G::outcome, v(1, 1, 0),
          "the guest's XML for the destination"),
    words(Opt::persistent_xml, "persistent_xml", "persistent-xml", file, "FILE", G::outcome,
          v(1, 3, 4), "the definition to keep there; needs --persistent"),
    number(Opt::bandwidth, "bandwidth", "bandwidth", uint64, "MIB/S", G::limits, v(1, 1, 0), 0,
           kMaxMibPerSecond, "speed limit; 0 is the hypervisor's default"),
    number(Opt::bandwidth_postcopy, "bandwidth.postcopy", "postcopy-bandwidth", uint64, "MIB/S",
           G::postcopy, v(5, 1, 0), 0, kMaxMibPerSecond, "speed limit of post-copy"),
    number(Opt::bandwidth_avail_switchover, "bandwidth.avail.switchover",
           "available-switchover-bandwidth", uint64, "MIB/S", G::limits, v(11, 1, 0), 0,
           kMaxMibPerSecond, "speed to assume when deciding on the switch-over"),
    words(Opt::graphics_uri, "graphics_uri", "graphicsuri", text, "URI", G::data, v(1, 1, 0),
          "where graphics clients shall reconnect"),
    words(Opt::listen_address, "listen_address", "listen-address", text, "ADDRESS", G::data,
          v(1, 1, 4), "where the destination listens for data"),
    words(Opt::migrate_disks, "migrate_disks", "migrate-disks", list, "DISK,...", G::storage,
          v(1, 2, 17), "which disks to copy (targets, as vda)"),
    words(Opt::migrate_disks_detect_zeroes, "migrate_disks_detect_zeroes",
          "migrate-disks-detect-zeroes", list, "DISK,...", G::storage, v(10, 9, 0),
          "disks whose zeroes are not sent"),
    number(Opt::disks_port, "disks_port", "disks-port", int32, "PORT", G::storage, v(1, 3, 3), 0,
           65535, "port for the disks' data"),
    words(Opt::disks_uri, "disks_uri", "disks-uri", text, "URI", G::storage, v(6, 8, 0),
          "where the disks' data goes: tcp: or unix:"),
    words(Opt::compression, "compression", "comp-methods", list, "METHOD,...", G::memory,
          v(1, 3, 4), "how to compress: xbzrle, mt, zlib, zstd", "xbzrle mt zlib zstd"),
    number(Opt::compression_mt_level, "compression.mt.level", "comp-mt-level", int32, "LEVEL",
           G::memory, v(1, 3, 4), 0, 9, "level of mt: 0 none, 1 fast, 9 small"),
    number(Opt::compression_mt_threads, "compression.mt.threads", "comp-mt-threads", int32, "N",
           G::memory, v(1, 3, 4), 1, 255, "threads of mt that compress"),
    number(Opt::compression_mt_dthreads, "compression.mt.dthreads", "comp-mt-dthreads", int32, "N",
           G::memory, v(1, 3, 4), 1, 255, "threads of mt that decompress"),
    number(Opt::compression_xbzrle_cache, "compression.xbzrle.cache", "comp-xbzrle-cache", uint64,
           "BYTES", G::memory, v(1, 3, 4), 1, kMax, "page cache of xbzrle"),
    number(Opt::compression_zlib_level, "compression.zlib.level", "comp-zlib-level", int32, "LEVEL",
           G::memory, v(9, 4, 0), 0, 9, "level of zlib: 0 none, 1 fast, 9 small"),
    number(Opt::compression_zstd_level, "compression.zstd.level", "comp-zstd-level", int32, "LEVEL",
           G::memory, v(9, 4, 0), 0, 20, "level of zstd: 1 fast, 20 small"),
    number(Opt::auto_converge_initial, "auto_converge.initial", "auto-converge-initial", int32,
           "PERCENT", G::memory, v(2, 0, 0), 1, 99, "first slow-down of auto-converge"),
    number(Opt::auto_converge_increment, "auto_converge.increment", "auto-converge-increment",
           int32, "PERCENT", G::memory, v(2, 0, 0), 1, 99, "further slow-down of auto-converge"),
    number(Opt::parallel_connections, "parallel.connections", "parallel-connections", int32, "N",
           G::memory, v(5, 2, 0), 1, 255, "connections of --parallel"),
    words(Opt::tls_destination, "tls.destination", "tls-destination", text, "NAME", G::data,
          v(6, 0, 0), "name to expect in the destination's certificate"),

    local(Opt::direct, "direct", G::way, "the hypervisors do it among themselves"),
    local(Opt::verbose, "verbose", G::checks, "show the progress, also where it is not a terminal"),
    local(Opt::postcopy_after_precopy, "postcopy-after-precopy", G::postcopy,
          "switch to post-copy after the first pass over memory"),
    local_seconds(Opt::timeout, "timeout", G::limits,
                  "act if the guest still runs on the source; 0 is never"),
    local(Opt::timeout_suspend, "timeout-suspend", G::limits,
          "at --timeout: pause it and finish (default)"),
    local(Opt::timeout_postcopy, "timeout-postcopy", G::limits,
          "at --timeout: switch to post-copy"),
    local(Opt::timeout_abort, "timeout-abort", G::limits, "at --timeout: give up, guest stays"),
    local_seconds(Opt::max_freeze, "max-freeze", G::limits,
                  "abort a switch-over that hangs longer than this (default 10)"),
    local(Opt::p2p_any_uri, "p2p-any-uri", G::checks,
          "with --p2p: hand over a URI that names programs or files"),
    local(Opt::strict, "strict", G::checks, "no defaults: what a driver demands must be typed"),
    local(Opt::trust_host, "trust-host", G::checks,
          "skip the driver's rules; the host decides alone"),
    local(Opt::dry_run, "dry-run", G::checks, "show the plan and stop"),
});

constexpr bool complete() {
  if (kRows.size() != kOptCount) return false;
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    const OptRow& r = kRows[i];
    if (std::to_underlying(r.id) != i || r.option.empty() || r.help.empty()) return false;
    if (is_flag(r.id) && (r.type != boolean || !r.three_valued)) return false;
    if ((is_flag(r.id) || is_param(r.id)) && (r.name.empty() || r.since == 0)) return false;
    if ((r.type == boolean) != r.metavar.empty()) return false;
    for (std::size_t j = 0; j < i; ++j)
      if (kRows[j].option == r.option || (!r.name.empty() && kRows[j].name == r.name)) return false;
  }
  return true;
}
static_assert(complete(), "each Opt has its row, in order, with its own option and name");

constexpr auto kLegacy = std::to_array<Opt>(
    {Opt::migrate_uri, Opt::graphics_uri, Opt::listen_address, Opt::destination_name, Opt::timeout,
     Opt::destination_xml, Opt::migrate_disks, Opt::disks_port});

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

template <class Matches>
const OptRow* find_if(Matches matches) {
  const auto it = std::ranges::find_if(kRows, matches);
  return it == kRows.end() ? nullptr : &*it;
}

}  // namespace

std::string_view title(OptGroup group) {
  static constexpr std::string_view titles[kOptGroups] = {
      "How to move", "Afterwards", "Data path",        "Memory",
      "Post-copy",   "Storage",    "Limits and times", "Checks and safety"};
  return titles[static_cast<std::size_t>(group)];
}

std::string version_text(std::uint64_t version) {
  return fmt::format("{}.{}.{}", version / 1000000, version / 1000 % 1000, version % 1000);
}

std::span<const OptRow> opt_rows() { return kRows; }
const OptRow& row(Opt o) { return kRows.at(std::to_underlying(o)); }

const OptRow* find_option(std::string_view option) {
  if (option.empty()) return nullptr;
  return find_if([&](const OptRow& r) { return r.option == option || r.alias == option; });
}

const OptRow* find_param(std::string_view field) {
  return find_if([&](const OptRow& r) { return is_param(r.id) && r.name == field; });
}

const OptRow* find_opt(std::string_view word) {
  while (word.starts_with('-')) word.remove_prefix(1);
  if (const OptRow* r = find_option(word)) return r;
  constexpr std::string_view prefix = "VIR_MIGRATE_";
  if (word.size() > prefix.size() && same_word(word.substr(0, prefix.size()), prefix))
    word.remove_prefix(prefix.size());
  if (word.empty()) return nullptr;
  return find_if([&](const OptRow& r) { return same_word(r.name, word); });
}

std::string option_text(Opt o) { return fmt::format("--{}", row(o).option); }

std::string flags_text(FlagSet flags) {
  std::string out;
  for (int bit = 0; bit < kFlagCount; ++bit) {
    const Flag f = static_cast<Flag>(bit);
    if (!flags.has(f)) continue;
    if (!out.empty()) out += " | ";
    out += row(f).name;
  }
  return out.empty() ? "0" : out;
}

bool among(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t space = std::min(words.find(' '), words.size());
    if (words.substr(0, space) == word) return true;
    words.remove_prefix(std::min(space + 1, words.size()));
  }
  return false;
}

std::span<const Opt> legacy_positionals() { return kLegacy; }

}  // namespace vmferry
