#pragma once
// Files that survive a crash at any moment: written beside, flushed, renamed.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/qmp/json.hpp"

namespace vmferry::qmp {

/// An owned file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// The error `io` with the system's words for errno.
Error io_error(const std::string& what, const std::string& path, int number);

/// Makes the directory and those above it, mode 0700. Errors: io; denied when an existing one
/// belongs to someone else or others may write to it.
void make_private_dir(const std::string& path);
/// What a file shall survive. The end of this program, or also that of the machine: that costs
/// flushes, which can take many milliseconds.
enum class Outlives : std::uint8_t { program, machine };
/// Replaces the file in one step, mode 0600. Errors: io.
void write_atomically(const std::string& path, std::string_view text,
                      Outlives what = Outlives::machine);
/// Nothing when there is no such file. Errors: io, and protocol above `most` bytes.
std::optional<std::string> read_file(const std::string& path, std::size_t most = 1 << 20);
/// A JSON object in a file; nothing when there is none. Errors: protocol, naming the file.
std::optional<Json> read_json(const std::string& path);
/// Removes a file or a directory with all below; what is gone already is no error.
void remove_all(const std::string& path) noexcept;
std::vector<std::string> entries(const std::string& dir);  ///< names, sorted; none if it is absent

/// An exclusive lock on a file (flock), gone with the object and with the process. Nothing when
/// someone else has it. Errors: io.
std::optional<Fd> try_lock(const std::string& path);

}  // namespace vmferry::qmp
