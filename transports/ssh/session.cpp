#include "transports/ssh/session.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <asio/redirect_error.hpp>
#include <cerrno>

#include "core/base/text.hpp"

namespace vmferry {

static bool library_ready() {
  static const bool ready = libssh2_init(0) == 0;
  return ready;
}

SshSession::SshSession(SshSocket socket, std::unique_ptr<Stream> program, std::string peer)
    : socket_(std::move(socket)),
      program_(std::move(program)),
      peer_(std::move(peer)),
      changed_(socket_.get_executor()) {
  socket_.non_blocking(true);
  session_ = library_ready() ? libssh2_session_init_ex(nullptr, nullptr, nullptr, this) : nullptr;
  if (session_ == nullptr) throw Error(ErrorId::internal, "libssh2 cannot be initialised");
  libssh2_session_set_blocking(session_, 0);
  // Function pointers travel as void*, as libssh2 wants them.
  libssh2_session_callback_set(session_, LIBSSH2_CALLBACK_RECV,
                               reinterpret_cast<void*>(&SshSession::on_receive));
  libssh2_session_callback_set(session_, LIBSSH2_CALLBACK_SEND,
                               reinterpret_cast<void*>(&SshSession::on_send));
}

SshSession::~SshSession() {
  close();
  // The callbacks fail now, so this frees without waiting for anybody.
  libssh2_session_free(session_);
}

// libssh2 uses the same functions for an agent's socket, which blocks and is not ours to count.
ssize_t SshSession::on_receive(libssh2_socket_t from, void* into, std::size_t size, int,
                               void** self) {
  auto& me = *static_cast<SshSession*>(*self);
  if (me.closed_) return -ECONNRESET;
  const ssize_t n = ::recv(from, into, size, 0);
  if (n < 0) return -errno;
  if (from == me.descriptor()) me.received_ += static_cast<std::uint64_t>(n);
  return n;
}

ssize_t SshSession::on_send(libssh2_socket_t to, const void* from, std::size_t size, int,
                            void** self) {
  if (static_cast<SshSession*>(*self)->closed_) return -ECONNRESET;
  const ssize_t n = ::send(to, from, size, MSG_NOSIGNAL);
  return n < 0 ? -errno : n;
}

bool SshSession::wants_to_send() const {
  return (libssh2_session_block_directions(session_) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
}

void SshSession::note_change() {
  ++changes_;
  changed_.notify();
}

Task<> SshSession::wait_for_change(std::uint64_t seen) {
  while (changes_ == seen && !closed_) co_await changed_.wait();
}

Task<> SshSession::wait_for_socket(bool sending) {
  asio::error_code failure;  // a closed socket ends the waiting; the next call says why
  const auto direction = sending ? SshSocket::wait_write : SshSocket::wait_read;
  co_await socket_.async_wait(direction, asio::redirect_error(asio::use_awaitable, failure));
}

Task<> SshSession::wait_for_progress(bool sending, std::uint64_t seen) {
  Task<> socket = wait_for_socket(sending);
  Task<> change = wait_for_change(seen);
  co_await first_of(std::move(socket), std::move(change));
}

Error SshSession::too_slow(const std::string& what, Micros limit) const {
  return {ErrorId::connect_timeout, fmt::format("{} with {} did not end within {:g} s", what, peer_,
                                                static_cast<double>(limit.count()) / 1e6)};
}

std::string SshSession::last_error() const {
  char* text = nullptr;
  int size = 0;
  libssh2_session_last_error(session_, &text, &size, 0);
  return text == nullptr ? "" : escaped({text, static_cast<std::size_t>(size)}, 512);
}

Error SshSession::lost(const std::string& why) const {
  std::string text = fmt::format("the ssh connection to {} broke: {}", peer_, why);
  if (program_ && !closed_) text += "; " + program_->explain_end();
  return {ErrorId::connect_lost, text};
}

void SshSession::close() noexcept {
  if (std::exchange(closed_, true)) return;
  asio::error_code ignored;  // the descriptor is gone in any case
  socket_.close(ignored);
  if (program_) program_->close();
  ++changes_;
  changed_.notify();
}

}  // namespace vmferry
