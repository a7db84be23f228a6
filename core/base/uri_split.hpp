#pragma once
#include <string>
#include <string_view>

namespace vmferry {

/// A URI cut at its delimiters (RFC 3986 appendix B), nothing decoded. Never fails: `problem` says
/// what is wrong with user, host or port, if anything is.
struct UriSplit {
  std::string scheme;  ///< lower case; "qemu+ssh" is not taken apart
  std::string user, host, port;
  std::string path, query, fragment;
  bool has_authority = false, has_query = false, has_fragment = false;
  std::string problem;
};
UriSplit split_uri(std::string_view uri);

}  // namespace vmferry
