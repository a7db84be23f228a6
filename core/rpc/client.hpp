#pragma once
// The client side of one connection: many calls under way, replies matched by serial in whatever
// order they come; events; keepalive; and what happens when the connection dies.
#include <functional>
#include <memory>
#include <optional>

#include "core/async/clock.hpp"
#include "core/async/stream.hpp"
#include "core/proto/error.hpp"
#include "core/rpc/frame.hpp"

namespace vmferry::rpc {

struct ClientOptions {
  /// Silence after which a ping is sent; the peer is dead after count + 1 of them. 0: no pings.
  Micros keepalive_interval = std::chrono::seconds(5);
  int keepalive_count = 6;
};

struct CallOptions {
  /// How long the answer may take; 0: as long as the connection lives (keepalive watches it).
  Micros deadline = std::chrono::seconds(60);
  /// May use the place that is kept free for it: an abort must get through.
  bool urgent = false;
};

/// libvirt's daemons stop reading a client that has five calls under way, answers to their pings
/// included; so there are never more than four. While one without a deadline is under way, a place
/// is kept for urgent calls.
inline constexpr int kCallsInFlight = 4;

/// A reply with status ERROR, or a stream's: as our Error. The peer's text is escaped and bounded.
Error to_error(std::span<const std::byte> error_payload);

class Client {
 public:
  using OnEvent = std::function<void(std::int32_t procedure, std::span<const std::byte> body)>;

  Client(std::unique_ptr<Stream> stream, Clock& clock, const Executor& ex, ClientOptions options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();  ///< closes the stream; its loops end by themselves and touch nothing of ours

  /// Errors: connect_lost (reply_lost says whether the request went out), timed_out, protocol, or
  /// what the peer answered.
  template <class P>
  Task<typename P::Ret> call(typename P::Args args, CallOptions options = {}) {
    const Bytes request = value_or_throw(xdr::encode(args));
    co_return co_await call_encoded<P>(request, options);
  }
  /// As call(), with the arguments encoded already.
  template <class P>
  Task<typename P::Ret> call_encoded(const Bytes& request, CallOptions options) {
    const Packet reply = co_await exchange(P::number, request, options);
    co_return value_or_throw(xdr::decode<typename P::Ret>(reply.payload));
  }

  /// A call that opens a stream to the server; the caller writes to `stream` what is to go there.
  /// finish_writing() returns once the server has confirmed that it has everything; closing it
  /// before that aborts. Its errors: what the server says, connect_lost, timed_out.
  template <class P>
  struct Streamed {
    typename P::Ret ret;
    std::unique_ptr<Stream> stream;
  };
  template <class P>
  Task<Streamed<P>> call_streamed(typename P::Args args, CallOptions options = {}) {
    const Bytes request = value_or_throw(xdr::encode(args));
    std::unique_ptr<Stream> stream;
    const Packet reply = co_await open_upload(P::number, request, options, stream);
    co_return Streamed<P>{value_or_throw(xdr::decode<typename P::Ret>(reply.payload)),
                          std::move(stream)};
  }

  /// Sends a call whose answer nobody needs.
  template <class P>
  void post(const typename P::Args& args) {
    if (const auto request = xdr::encode(args)) post_encoded(P::number, *request);
  }

  /// Starts pings of our own. The peer must know the keepalive program (feature 10).
  void start_keepalive();
  void on_event(OnEvent handler);
  bool dead() const;

 private:
  struct Link;
  struct Pending;
  struct InFlight;
  struct Upload;
  class UploadStream;
  Task<Packet> exchange(std::int32_t procedure, const Bytes& payload, CallOptions options,
                        std::shared_ptr<Upload> upload = nullptr);
  Task<Packet> open_upload(std::int32_t procedure, const Bytes& payload, CallOptions options,
                           std::unique_ptr<Stream>& stream);
  static Task<> read_loop(std::shared_ptr<Link> link);
  static Task<> write_loop(std::shared_ptr<Link> link);
  static Task<> ping_loop(std::shared_ptr<Link> link);
  void post_encoded(std::int32_t procedure, const Bytes& payload);
  static Task<> wait_place(std::shared_ptr<Link> link, CallOptions options);
  static Task<> wait_reply(std::shared_ptr<Link> link, Pending& pending);

  std::shared_ptr<Link> link_;
};

}  // namespace vmferry::rpc
