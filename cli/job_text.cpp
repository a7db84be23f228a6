#include "cli/job_text.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"

namespace vmferry::cli {

namespace {

enum class Unit : std::uint8_t { ms, size, rate, plain, bytes, pages_rate };
struct Line {
  std::string_view label, field;
  Unit unit;
};

// Fields are VIR_DOMAIN_JOB_* (libvirt-domain.h), labels and order are virsh's.
constexpr Line kLines[] = {
    {"Time elapsed:", "time_elapsed", Unit::ms},
    {"Time elapsed w/o network:", "time_elapsed_net", Unit::ms},
    {"Data processed:", "data_processed", Unit::size},
    {"Data remaining:", "data_remaining", Unit::size},
    {"Data total:", "data_total", Unit::size},
    {"Memory processed:", "memory_processed", Unit::size},
    {"Memory remaining:", "memory_remaining", Unit::size},
    {"Memory total:", "memory_total", Unit::size},
    {"Memory bandwidth:", "memory_bps", Unit::rate},
    {"Dirty rate:", "memory_dirty_rate", Unit::pages_rate},
    {"Page size:", "memory_page_size", Unit::bytes},
    {"Iteration:", "memory_iteration", Unit::plain},
    {"Postcopy requests:", "memory_postcopy_requests", Unit::plain},
    {"File processed:", "disk_processed", Unit::size},
    {"File remaining:", "disk_remaining", Unit::size},
    {"File total:", "disk_total", Unit::size},
    {"File bandwidth:", "disk_bps", Unit::rate},
    {"Constant pages:", "memory_constant", Unit::plain},
    {"Normal pages:", "memory_normal", Unit::plain},
    {"Normal data:", "memory_normal_bytes", Unit::size},
    {"Total downtime:", "downtime", Unit::ms},
    {"Downtime w/o network:", "downtime_net", Unit::ms},
    {"Setup time:", "setup_time", Unit::ms},
    {"Compression cache:", "compression_cache", Unit::size},
    {"Compressed data:", "compression_bytes", Unit::size},
    {"Compressed pages:", "compression_pages", Unit::plain},
    {"Compression cache misses:", "compression_cache_misses", Unit::plain},
    {"Compression overflows:", "compression_overflow", Unit::plain},
    {"Auto converge throttle:", "auto_converge_throttle", Unit::plain},
};

// virsh's scale: the largest unit that gives at least 1, three digits after the point.
std::string scaled(std::uint64_t bytes) {
  static constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.3f} {}", value, units[unit]);
}

std::string value_text(std::uint64_t value, Unit unit) {
  switch (unit) {
    case Unit::ms:
      return fmt::format("{:<12} ms", value);
    case Unit::size:
      return scaled(value);
    case Unit::rate:
      return scaled(value) + "/s";
    case Unit::bytes:
      return fmt::format("{:<12} bytes", value);
    case Unit::pages_rate:
      return fmt::format("{:<12} pages/s", value);
    case Unit::plain:
      break;
  }
  return fmt::format("{:<12}", value);
}

// VIR_DOMAIN_JOB_OPERATION_*
std::string_view operation_text(std::uint64_t operation) {
  static constexpr std::string_view names[] = {
      "Unknown",  "Start",           "Save", "Restore", "Incoming migration", "Outgoing migration",
      "Snapshot", "Snapshot revert", "Dump", "Backup",  "Snapshot delete"};
  return operation < std::size(names) ? names[operation] : "Unknown";
}

}  // namespace

std::string_view job_type_text(JobType type) {
  static constexpr std::string_view names[] = {"None",      "Bounded", "Unbounded",
                                               "Completed", "Failed",  "Cancelled"};
  const auto i = static_cast<std::size_t>(type);
  return i < std::size(names) ? names[i] : "Unknown";
}

std::string job_text(const JobStats& stats, bool any) {
  std::string out = fmt::format("{:<17} {:<12}\n", "Job type:", job_type_text(stats.type));
  if (stats.type == JobType::none) return out;
  if (stats.fields.has("operation"))
    out += fmt::format("{:<17} {:<12}\n", "Operation:", operation_text(stats.number("operation")));
  const bool good = stats.type != JobType::failed && stats.type != JobType::cancelled;
  if (!good && !any) return out;
  for (const Line& line : kLines) {
    // virsh shows a group of fields only when there is something to copy of its kind.
    const bool disk = line.field.starts_with("disk_") && stats.number("disk_total") == 0;
    if (!stats.fields.has(line.field) || disk) continue;
    const bool expected = line.field == "downtime" && stats.type != JobType::completed;
    out += fmt::format("{:<17} {}\n", expected ? "Expected downtime:" : line.label,
                       value_text(stats.number(line.field), line.unit));
  }
  if (const auto* error = stats.fields.get<std::string>("errmsg"))
    out += fmt::format("{:<17} {}\n", "Error message:", escaped(*error));
  return out;
}

std::string raw_job_text(const JobStats& stats) {
  std::string out = fmt::format("Job type: {}\n\n", static_cast<int>(stats.type));
  for (const TypedParam& p : stats.fields.items) {
    const auto print = [&](const auto& v) {
      if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
        out += fmt::format("{}: {}\n", escaped(p.field), escaped(v));
      else
        out += fmt::format("{}: {}\n", escaped(p.field), v);
    };
    std::visit(print, p.value);
  }
  return out;
}

}  // namespace vmferry::cli
