#pragma once
#include <string>

#include "core/host/domain.hpp"

namespace vmferry::cli {

/// A job's statistics as `virsh domjobinfo` prints them; fields that are absent have no line. Of a
/// job that failed or was cancelled there are figures with `any` only.
std::string job_text(const JobStats& stats, bool any = false);
/// Every field as "name: value", as `virsh domjobinfo --rawstats` does.
std::string raw_job_text(const JobStats& stats);
std::string_view job_type_text(JobType type);

}  // namespace vmferry::cli
