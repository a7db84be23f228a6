#include "core/qmp/line.hpp"

#include <algorithm>

namespace vmferry::qmp {

Result<> Lines::feed(std::span<const std::byte> bytes) {
  if (start_ > 0) {
    buffer_.erase(0, start_);
    seen_ -= std::min(seen_, start_);
    start_ = 0;
  }
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view fresh(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t last_end = fresh.rfind('\n');
  unfinished_ =
      last_end == std::string_view::npos ? unfinished_ + fresh.size() : fresh.size() - last_end - 1;
  if (unfinished_ > longest_) return fail(ErrorId::protocol, "QEMU's monitor sent an endless line");
  return {};
}

std::optional<std::string> Lines::next() {
  while (true) {
    const std::size_t end = buffer_.find('\n', std::max(start_, seen_));
    if (end == std::string::npos) {
      seen_ = buffer_.size();
      return std::nullopt;
    }
    std::string line = buffer_.substr(start_, end - start_);
    start_ = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) return line;
  }
}

}  // namespace vmferry::qmp
