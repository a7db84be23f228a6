#pragma once
// Jobs: progress, abort, and the knobs that a running migration has.
#include "core/proto/common.hpp"

namespace vmferry::proto {

/// Times in ms, amounts in bytes.
struct JobInfoRet {
  std::int32_t type = 0;  ///< virDomainJobType
  std::uint64_t time_elapsed = 0, time_remaining = 0;
  std::uint64_t data_total = 0, data_processed = 0, data_remaining = 0;
  std::uint64_t mem_total = 0, mem_processed = 0, mem_remaining = 0;
  std::uint64_t file_total = 0, file_processed = 0, file_remaining = 0;
  static auto fields(auto& s) {
    return std::tie(s.type, s.time_elapsed, s.time_remaining, s.data_total, s.data_processed,
                    s.data_remaining, s.mem_total, s.mem_processed, s.mem_remaining, s.file_total,
                    s.file_processed, s.file_remaining);
  }
};
struct JobStatsRet {
  std::int32_t type = 0;
  WireParams params;
  static auto fields(auto& s) { return std::tie(s.type, s.params); }
};

inline constexpr std::uint32_t kJobCompleted = 1, kJobKeepCompleted = 2;  // GET_JOB_STATS
inline constexpr std::uint32_t kAbortPostcopy = 1, kSpeedPostcopy = 1;

using DomainGetJobInfo = Procedure<163, "DOMAIN_GET_JOB_INFO", DomainArgs, JobInfoRet>;
using DomainGetJobStats = Procedure<298, "DOMAIN_GET_JOB_STATS", DomainFlagsArgs, JobStatsRet>;
using DomainAbortJob = Procedure<164, "DOMAIN_ABORT_JOB", DomainArgs, Void>;
using DomainAbortJobFlags = Procedure<442, "DOMAIN_ABORT_JOB_FLAGS", DomainFlagsArgs, Void>;
using DomainSetMaxDowntime =
    Procedure<166, "DOMAIN_MIGRATE_SET_MAX_DOWNTIME", DomainValueArgs, Void>;  // ms
using DomainGetMaxDowntime =
    Procedure<387, "DOMAIN_MIGRATE_GET_MAX_DOWNTIME", DomainFlagsArgs, U64Ret>;
using DomainSetCompressionCache =
    Procedure<300, "DOMAIN_MIGRATE_SET_COMPRESSION_CACHE", DomainValueArgs, Void>;  // bytes
using DomainGetCompressionCache =
    Procedure<299, "DOMAIN_MIGRATE_GET_COMPRESSION_CACHE", DomainFlagsArgs, U64Ret>;
using DomainSetMaxSpeed =
    Procedure<207, "DOMAIN_MIGRATE_SET_MAX_SPEED", DomainValueArgs, Void>;  // MiB/s
using DomainGetMaxSpeed = Procedure<242, "DOMAIN_MIGRATE_GET_MAX_SPEED", DomainFlagsArgs, U64Ret>;
using DomainStartPostCopy = Procedure<364, "DOMAIN_MIGRATE_START_POST_COPY", DomainFlagsArgs, Void>;

}  // namespace vmferry::proto
