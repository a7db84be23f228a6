#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "core/base/error.hpp"

namespace vmferry::qmp {

/// Splits what QEMU's monitor sends into lines, one JSON document each (docs/interop/qmp-spec).
/// Pure; a line above `longest` bytes is ErrorId::protocol, before it is kept.
class Lines {
 public:
  static constexpr std::size_t kLongest = 10 << 20;
  explicit Lines(std::size_t longest = kLongest) : longest_(longest) {}
  Result<> feed(std::span<const std::byte> bytes);
  /// The next complete, non-empty line without its end; none until more was fed.
  std::optional<std::string> next();

 private:
  std::size_t longest_;
  std::string buffer_;
  std::size_t unfinished_ = 0;  // bytes after the last line end
  std::size_t start_ = 0;       // of the first line that was not taken
  std::size_t seen_ = 0;        // no line end before here
};

}  // namespace vmferry::qmp
