#pragma once
#include "core/proto/common.hpp"

namespace vmferry::proto {

/// remote_error: the payload of whatever has status ERROR.
struct RemoteError {
  std::int32_t code = 0;    ///< virErrorNumber
  std::int32_t domain = 0;  ///< virErrorDomain
  MaybeStr message;
  std::int32_t level = 2;  ///< 2: an error
  xdr::Maybe<Domain> dom;
  MaybeStr str1, str2, str3;
  std::int32_t int1 = -1, int2 = -1;
  xdr::Maybe<Named> net;
  static auto fields(auto& s) {
    return std::tie(s.code, s.domain, s.message, s.level, s.dom, s.str1, s.str2, s.str3, s.int1,
                    s.int2, s.net);
  }
};

// virErrorNumber and virErrorDomain (virterror.h), as far as we tell them apart.
inline constexpr std::int32_t kInternalError = 1, kNoSupport = 3, kInvalidArg = 8,
                              kOperationFailed = 9, kXmlError = 27, kDomainExists = 28,
                              kXmlDetail = 35, kOperationDenied = 29, kRpc = 39, kNoDomain = 42,
                              kNoNetwork = 43, kAuthFailed = 45, kNoStoragePool = 49,
                              kNoStorageVol = 50, kNoNodeDevice = 53, kOperationInvalid = 55,
                              kNoNwfilter = 62, kNoSecret = 66, kConfigUnsupported = 67,
                              kOperationTimeout = 68, kArgumentUnsupported = 74,
                              kOperationAborted = 78, kAuthCancelled = 79,
                              kOperationUnsupported = 84, kAccessDenied = 88,
                              kXmlInvalidSchema = 92, kMigrateFinishOk = 93, kAuthUnavailable = 94;
inline constexpr std::int32_t kFromRpc = 7, kFromQemu = 10, kFromTest = 12, kFromRemote = 13;

}  // namespace vmferry::proto
