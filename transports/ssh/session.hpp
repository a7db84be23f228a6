#pragma once
// libssh2 over a non-blocking socket, driven by the event loop. One reader and one writer may be
// under way at the same time.
#include <libssh2.h>

#include <asio/generic/stream_protocol.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/race.hpp"
#include "core/async/signal.hpp"
#include "core/async/stream.hpp"
#include "core/async/task.hpp"

namespace vmferry {

using SshSocket = asio::generic::stream_protocol::socket;

/// Who is calling libssh2. A packet that was sent in part must be ended by the same call with the
/// same data before anybody else may send; hence the owner.
enum class SshRole : std::uint8_t { none, reader, writer };

class SshSession {
 public:
  /// `program` is what carries the socket's bytes if it is no network connection (ProxyCommand);
  /// it is kept, and asked why it ended. Errors: internal when libssh2 cannot be initialised.
  SshSession(SshSocket socket, std::unique_ptr<Stream> program, std::string peer);
  SshSession(const SshSession&) = delete;
  SshSession& operator=(const SshSession&) = delete;
  ~SshSession();

  LIBSSH2_SESSION* raw() const { return session_; }
  int descriptor() { return socket_.native_handle(); }
  const std::string& peer() const { return peer_; }
  bool closed() const { return closed_; }

  /// Calls `call` (a libssh2 function: negative is an error) until it is not LIBSSH2_ERROR_EAGAIN.
  /// A failure is returned, not thrown. Waits as long as the peer lets it.
  template <class Call>
  Task<long> drive(SshRole role, Call call) {
    for (;;) {
      while (owner_ != SshRole::none && owner_ != role && !closed_) co_await changed_.wait();
      if (closed_) throw lost("it was closed on this side");
      const std::uint64_t received = received_;
      const long result = static_cast<long>(call());
      const bool again = result == LIBSSH2_ERROR_EAGAIN;
      const bool sending = again && wants_to_send();
      const bool released = owner_ == role && !sending;
      owner_ = sending ? role : SshRole::none;
      if (received != received_ || !again || released) note_change();
      if (!again) co_return result;
      const std::uint64_t seen = changes_;
      co_await wait_for_progress(sending, seen);
    }
  }

  /// As drive(), for a step of the login: connect_timeout when `what` ("the key exchange") takes
  /// longer than `limit`.
  template <class Call>
  Task<long> step(Clock& clock, Micros limit, std::string what, Call call) {
    Task<long> work = drive(SshRole::writer, std::move(call));
    const std::optional<long> result = co_await within(clock, limit, std::move(work));
    if (!result) throw too_slow(what, limit);
    co_return *result;
  }

  /// The connection's last error in libssh2's words.
  std::string last_error() const;
  /// connect_lost with what is known of the cause.
  Error lost(const std::string& why) const;
  void close() noexcept;

 private:
  static ssize_t on_receive(libssh2_socket_t, void* into, std::size_t size, int flags, void** self);
  static ssize_t on_send(libssh2_socket_t, const void* from, std::size_t size, int flags,
                         void** self);
  Error too_slow(const std::string& what, Micros limit) const;
  bool wants_to_send() const;
  void note_change();
  Task<> wait_for_change(std::uint64_t seen);
  Task<> wait_for_socket(bool sending);
  Task<> wait_for_progress(bool sending, std::uint64_t seen);

  SshSocket socket_;
  std::unique_ptr<Stream> program_;
  std::string peer_;
  Signal changed_;
  LIBSSH2_SESSION* session_ = nullptr;
  SshRole owner_ = SshRole::none;
  std::uint64_t received_ = 0;  // bytes, so that one caller knows that it read for the other
  std::uint64_t changes_ = 0;
  bool closed_ = false;
};

}  // namespace vmferry
