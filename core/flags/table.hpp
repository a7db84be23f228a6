#pragma once
// The one table of everything that can be asked of a migration: libvirt's flags
// (virDomainMigrateFlags), its typed parameters (VIR_MIGRATE_PARAM_*, both libvirt-domain.h), and
// the options of `virsh migrate` and of ours that are neither. Parser, checks, rules, man page and
// completion are driven by it: something new is one row here.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/flags/flag.hpp"

namespace vmferry {

/// Every choice of a migration. The first 21 are the flags, with the flag's bit as value.
enum class Opt : std::uint8_t {
  // flags
  live,
  peer2peer,
  tunnelled,
  persist_dest,
  undefine_source,
  paused,
  non_shared_disk,
  non_shared_inc,
  change_protection,
  unsafe,
  offline,
  compressed,
  abort_on_error,
  auto_converge,
  rdma_pin_all,
  postcopy,
  tls,
  parallel,
  non_shared_synchronous_writes,
  postcopy_resume,
  zerocopy,
  // typed parameters
  migrate_uri,
  destination_name,
  destination_xml,
  persistent_xml,
  bandwidth,
  bandwidth_postcopy,
  bandwidth_avail_switchover,
  graphics_uri,
  listen_address,
  migrate_disks,
  migrate_disks_detect_zeroes,
  disks_port,
  disks_uri,
  compression,
  compression_mt_level,
  compression_mt_threads,
  compression_mt_dthreads,
  compression_xbzrle_cache,
  compression_zlib_level,
  compression_zstd_level,
  auto_converge_initial,
  auto_converge_increment,
  parallel_connections,
  tls_destination,
  // what the client does by itself
  direct,
  verbose,
  postcopy_after_precopy,
  timeout,
  timeout_suspend,
  timeout_postcopy,
  timeout_abort,
  max_freeze,
  p2p_any_uri,
  strict,
  trust_host,
  dry_run,
};
inline constexpr int kParamCount = 24;
inline constexpr int kOptCount = std::to_underlying(Opt::dry_run) + 1;

constexpr Opt opt(Flag flag) { return static_cast<Opt>(std::to_underlying(flag)); }
constexpr bool is_flag(Opt o) { return std::to_underlying(o) < kFlagCount; }
constexpr bool is_param(Opt o) {
  return !is_flag(o) && std::to_underlying(o) < kFlagCount + kParamCount;
}
constexpr std::optional<Flag> flag_of(Opt o) {
  if (!is_flag(o)) return std::nullopt;
  return static_cast<Flag>(std::to_underlying(o));
}

/// How an option's argument is written and travels. boolean: no argument.
enum class ValueType : std::uint8_t {
  boolean,
  int32,    ///< INT on the wire
  uint64,   ///< ULLONG on the wire
  text,     ///< STRING
  file,     ///< a file's contents, STRING
  list,     ///< a,b,c: one STRING entry each
  seconds,  ///< stays here
};

/// Under which heading help and man page show it.
enum class OptGroup : std::uint8_t {
  way,
  outcome,
  data,
  memory,
  postcopy,
  storage,
  limits,
  checks
};
std::string_view title(OptGroup group);
inline constexpr int kOptGroups = 8;

/// A library version as libvirt writes it: major * 1000000 + minor * 1000 + release.
constexpr std::uint32_t libvirt_version(std::uint32_t major, std::uint32_t minor,
                                        std::uint32_t release) {
  return major * 1000000 + minor * 1000 + release;
}
std::string version_text(std::uint64_t version);  ///< "11.3.0"

struct OptRow {
  Opt id;
  std::string_view name;    ///< "LIVE" of VIR_MIGRATE_LIVE; a parameter's field; else empty
  std::string_view option;  ///< without the dashes
  std::string_view alias;   ///< another spelling of the option, or empty
  ValueType type;
  bool three_valued;         ///< --no-OPTION exists
  std::string_view metavar;  ///< of the argument, with its unit where there is one
  OptGroup group;
  std::uint32_t since;      ///< first libvirt that knows it; 0: not libvirt's
  std::int64_t min, max;    ///< of numbers
  std::string_view values;  ///< the words that a list may hold, space-separated; empty: any
  std::string_view help;    ///< one line
};

std::span<const OptRow> opt_rows();
const OptRow& row(Opt o);
inline const OptRow& row(Flag flag) { return row(opt(flag)); }
/// By option or alias, without dashes and without "no-".
const OptRow* find_option(std::string_view option);
/// By what a person may type for it: --live, live, LIVE, VIR_MIGRATE_LIVE, bandwidth.postcopy.
const OptRow* find_opt(std::string_view word);
/// By the field name of a typed parameter.
const OptRow* find_param(std::string_view field);
std::string option_text(Opt o);  ///< "--live"
/// The flags' names joined by " | ", or "0".
std::string flags_text(FlagSet flags);

/// Whether a space-separated list of words holds that word.
bool among(std::string_view words, std::string_view word);

/// `virsh migrate` takes these without a name too, in this order after domain and desturi.
std::span<const Opt> legacy_positionals();

}  // namespace vmferry
