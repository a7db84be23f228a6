// Descriptors 0 and 1 as one Stream.
#include <fcntl.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>

#include "transports/listen.hpp"
#include "transports/socket_stream.hpp"

namespace vmferry {
namespace {

using Descriptor = asio::posix::stream_descriptor;

Descriptor duplicate(const Executor& ex, int fd, const char* what) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw Error(ErrorId::io, std::string(what) + " is not open");
  Descriptor out(ex);
  asio::error_code failure;
  out.assign(copy, failure);
  if (failure) {
    ::close(copy);
    // Regular files cannot be waited for.
    throw Error(ErrorId::io, std::string(what) + " is no pipe or socket: " + failure.message());
  }
  return out;
}

class StdioStream final : public Stream {
 public:
  explicit StdioStream(const Executor& ex)
      : in_(duplicate(ex, 0, "standard input"), "standard input"),
        out_(duplicate(ex, 1, "standard output"), "standard output") {}

  Task<std::size_t> read_some(std::span<std::byte> into) override { return in_.read_some(into); }
  Task<> write_all(std::span<const std::byte> from) override { return out_.write_all(from); }
  Task<> finish_writing() override {
    // Descriptor 1 itself stays open in this process: point it elsewhere, or nobody sees an end.
    out_.close();
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
      ::dup2(null, 1);
      ::close(null);
    }
    co_return;
  }
  void close() noexcept override {
    in_.close();
    out_.close();
  }

 private:
  SocketStream<Descriptor> in_, out_;
};

}  // namespace

std::unique_ptr<Stream> stdio_stream(const Executor& ex) {
  return std::make_unique<StdioStream>(ex);
}

}  // namespace vmferry
