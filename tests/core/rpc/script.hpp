#pragma once
// The other end of a client's connection, played by the test: it reads requests and answers as it
// likes.
#include <asio/co_spawn.hpp>
#include <deque>
#include <map>
#include <memory>

#include "core/async/sim_clock.hpp"
#include "core/async/stream.hpp"
#include "core/proto/connect.hpp"
#include "core/rpc/client.hpp"

namespace vmferry::rpc {

/// One end of a pipe that speaks packets.
class Scripted {
 public:
  explicit Scripted(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  Task<Packet> next() {
    for (;;) {
      auto packet = value_or_throw(assembler_.next());
      if (packet) co_return *std::move(packet);
      std::vector<std::byte> buffer(4096);
      const std::size_t n = co_await stream_->read_some(buffer);
      if (n == 0) throw Error(ErrorId::connect_lost, "the client left");
      assembler_.feed(std::span(buffer).first(n));
    }
  }
  Task<> send(Header header, Bytes payload) {
    const Bytes bytes = value_or_throw(pack(header, payload));
    co_await stream_->write_all(bytes);
  }
  template <class T>
  Task<> answer(const Packet& call, T ret) {
    Header header = call.header;
    header.type = Type::reply;
    Bytes payload = value_or_throw(xdr::encode(ret));
    Task<> sent = send(header, std::move(payload));
    co_await std::move(sent);
  }
  Task<> refuse(const Packet& call, proto::RemoteError error) {
    Header header = call.header;
    header.type = Type::reply;
    header.status = Status::error;
    Bytes payload = value_or_throw(xdr::encode(error));
    Task<> sent = send(header, std::move(payload));
    co_await std::move(sent);
  }
  void close() { stream_->close(); }
  Stream& stream() { return *stream_; }

 private:
  std::unique_ptr<Stream> stream_;
  Assembler assembler_;
};

/// What a task came to, for those who look at it later.
template <class T>
struct Later {
  std::optional<Result<T>> result;
  bool ok() const { return result && result->has_value(); }
  bool failed() const { return result && !result->has_value(); }
};
template <class T>
Task<> watch(Task<T> body, std::shared_ptr<Later<T>> into) {
  into->result = co_await settle(std::move(body));
}
/// Starts a task; the clock's settle() or run() makes it go on.
template <class T>
std::shared_ptr<Later<T>> begin(asio::io_context& io, Task<T> body) {
  auto later = std::make_shared<Later<T>>();
  asio::co_spawn(io, watch(std::move(body), later), [](const std::exception_ptr&) {});
  return later;
}

}  // namespace vmferry::rpc
