#pragma once
// A Stream over anything that Asio reads and writes: sockets, and descriptors of pipes.
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "core/async/stream.hpp"

namespace vmferry {

/// The error of a broken connection to `peer` ("host2:16509", a path).
inline Error connection_lost(const std::string& peer, const std::string& why) {
  return {ErrorId::connect_lost, "the connection to " + peer + " broke: " + why};
}

template <class Socket>
class SocketStream final : public Stream {
 public:
  SocketStream(Socket socket, std::string peer)
      : state_(std::make_shared<State>(std::move(socket), std::move(peer))) {}
  ~SocketStream() override { SocketStream::close(); }

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    const auto state = state_;  // outlives this object while we wait
    asio::error_code failure;
    const auto buffer = asio::buffer(into.data(), into.size());
    const std::size_t n = co_await state->socket.async_read_some(
        buffer, asio::redirect_error(asio::use_awaitable, failure));

    if (failure == asio::error::eof) co_return 0;
    state->check(failure);
    co_return n;
  }

  Task<> write_all(std::span<const std::byte> from) override {
    const auto state = state_;
    asio::error_code failure;
    const auto buffer = asio::buffer(from.data(), from.size());
    co_await asio::async_write(state->socket, buffer,
                               asio::redirect_error(asio::use_awaitable, failure));
    state->check(failure);
  }

  Task<> finish_writing() override {
    asio::error_code ignored;  // not connected any more: the reader will see it
    if constexpr (requires { state_->socket.shutdown(Socket::shutdown_send, ignored); })
      state_->socket.shutdown(Socket::shutdown_send, ignored);
    co_return;
  }

  void close() noexcept override {
    state_->closed = true;
    asio::error_code ignored;  // the descriptor is gone in any case
    state_->socket.close(ignored);
  }

 private:
  struct State {
    State(Socket s, std::string p) : socket(std::move(s)), peer(std::move(p)) {}
    void check(const asio::error_code& failure) const {
      if (!failure) return;
      if (closed) throw connection_lost(peer, "it was closed on this side");
      if (failure == asio::error::operation_aborted) throw std::system_error(failure);
      throw connection_lost(peer, failure.message());
    }
    Socket socket;
    std::string peer;
    bool closed = false;
  };
  std::shared_ptr<State> state_;
};

template <class Socket>
std::unique_ptr<Stream> socket_stream(Socket socket, std::string peer) {
  return std::make_unique<SocketStream<Socket>>(std::move(socket), std::move(peer));
}

}  // namespace vmferry
