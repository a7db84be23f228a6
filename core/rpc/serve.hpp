#pragma once
// The server side of one connection, from the same declarations as the client's calls: a table of
// procedures, and a session that takes calls, answers in whatever order they end, sends events, and
// watches whether the peer lives.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>

#include "core/async/clock.hpp"
#include "core/async/signal.hpp"
#include "core/async/stream.hpp"
#include "core/proto/error.hpp"
#include "core/rpc/frame.hpp"

namespace vmferry::rpc {

// -- the table of procedures ----------------------------------------------------------------------

Error unknown_procedure(std::int32_t number);
Error undecodable(const Error& why);  ///< a call whose arguments cannot be read

/// What a procedure has opened for the client's stream: data that the client sends under the call's
/// serial is written there; then finish_writing(), or close() when the client gave up.
using Opened = std::unique_ptr<Stream>;

template <class Impl, class P>
Task<Bytes> run_procedure(Impl& impl, Bytes payload, Opened& opened) {
  Result<typename P::Args> args = xdr::decode<typename P::Args>(payload);
  if (!args) throw undecodable(args.error());
  payload = Bytes();  // the arguments have their own copy
  Task<typename P::Ret> body = [&] {
    if constexpr (requires { impl.on(P{}, *std::move(args), opened); })
      return impl.on(P{}, *std::move(args), opened);
    else
      return impl.on(P{}, *std::move(args));
  }();
  const typename P::Ret ret = co_await std::move(body);
  co_return value_or_throw(xdr::encode(ret));
}

/// A list of procedures; `Impl` has one overload `Task<Ret> on(P, Args)` for each of them, or, for
/// one that opens a stream, `on(P, Args, Opened&)`.
template <class... P>
struct Procedures {
  template <class Impl>
  struct Entry {
    std::int32_t number = 0;
    Task<Bytes> (*run)(Impl&, Bytes, Opened&) = nullptr;
  };

  template <class Impl>
  static consteval auto table() {
    std::array<Entry<Impl>, sizeof...(P)> rows{Entry<Impl>{P::number, &run_procedure<Impl, P>}...};
    std::ranges::sort(rows, {}, &Entry<Impl>::number);
    return rows;
  }

  static consteval auto numbers() {
    std::array<std::int32_t, sizeof...(P)> all{P::number...};
    std::ranges::sort(all);
    return all;
  }
  static consteval bool distinct() {
    const auto all = numbers();
    return std::ranges::adjacent_find(all) == all.end();
  }

  /// Errors: unknown_procedure, undecodable, and the procedure's own. `impl` and `opened` outlive
  /// the Task.
  template <class Impl>
  static Task<Bytes> dispatch(Impl& impl, std::int32_t number, Bytes payload, Opened& opened) {
    static_assert(distinct());
    static constexpr auto rows = table<Impl>();
    const auto row = std::ranges::lower_bound(rows, number, {}, &Entry<Impl>::number);
    if (row == rows.end() || row->number != number) throw unknown_procedure(number);
    return row->run(impl, std::move(payload), opened);
  }
};

// -- the session ----------------------------------------------------------------------------------

/// The client, as those who answer it see it.
class Peer {
 public:
  virtual ~Peer() = default;
  /// Sends a message that nobody asked for. Does nothing once the connection is over.
  virtual void send_event(std::int32_t procedure, const Bytes& body) = 0;
  /// Pings of our own from now on: the peer said that it answers them (feature 10).
  virtual void start_keepalive() = 0;
  /// Ends the connection once everything that is due has been sent.
  virtual void finish() = 0;
};

/// Answers the calls of one client. Several run at the same time. Destroyed when the connection is
/// over and no call runs any more.
class Service {
 public:
  virtual ~Service() = default;
  /// A call that succeeds may have set `opened`, which outlives the Task.
  virtual Task<Bytes> call(std::int32_t procedure, Bytes payload, Opened& opened) = 0;
  /// In the middle of something that takes more calls, a migration: not to be left now if it can
  /// be helped.
  virtual bool busy() const { return false; }
};
using MakeService = std::function<std::unique_ptr<Service>(Peer&)>;

struct ServeOptions {
  Micros keepalive_interval = std::chrono::seconds(5);  ///< 0: no pings
  int keepalive_count = 5;       ///< the peer is dead after count + 1 silent intervals
  std::size_t calls_max = 5;     ///< under way at the same time; more wait
  std::size_t waiting_max = 16;  ///< calls that wait; then nothing is read
  std::size_t memory_max = std::size_t{64} << 20;       ///< bytes held for it, each way
  std::size_t streams_max = 16;                         ///< open at the same time
  Micros first_call_within = std::chrono::seconds(30);  ///< 0: no limit
  /// Once requested, the client is left as soon as it is not busy and has no call under way; one
  /// that was busy first has two seconds to leave by itself. It outlives the Task. Null: never.
  Stop* drain = nullptr;
  std::int32_t error_domain = proto::kFromRemote;  ///< of errors that have none of their own
};

/// What an Error looks like on the wire.
proto::RemoteError to_remote_error(const Error& error, std::int32_t domain);

/// Serves one client until either side ends the connection, it is drained, or this Task is
/// cancelled. Then calls under way are cancelled and waited for. Returns an error when the peer
/// broke the protocol, never called, gave no sign of life, or did not read what was sent; `clock`
/// outlives the Task.
Task<Result<>> serve(std::unique_ptr<Stream> stream, Clock& clock, MakeService make,
                     ServeOptions options = {});

}  // namespace vmferry::rpc
