#include "transports/ssh/channel.hpp"

#include <fmt/format.h>

#include <array>

#include "core/base/text.hpp"

namespace vmferry {
namespace {

constexpr std::size_t kStderrKept = 8192;

struct Channel {
  Channel(std::shared_ptr<SshSession> s, Clock& c, EarlyEnd e)
      : session(std::move(s)), clock(c), early_end(std::move(e)) {}

  // Standard error counts against the same window: it must be read, or all stops.
  void read_complaints() {
    std::array<char, 4096> chunk{};
    for (;;) {
      const ssize_t n =
          libssh2_channel_read_ex(raw, SSH_EXTENDED_DATA_STDERR, chunk.data(), chunk.size());
      if (n <= 0) return;
      said.append(chunk.data(), static_cast<std::size_t>(n));
      if (said.size() > kStderrKept) said.erase(0, said.size() - kStderrKept);
    }
  }

  std::shared_ptr<SshSession> session;
  Clock& clock;
  EarlyEnd early_end;
  LIBSSH2_CHANNEL* raw = nullptr;  // freed with the session
  std::string said;
  std::optional<int> status;
  bool started = false;  // the other side sent something
};

// The exit status comes with the channel's close, a moment after the end of its output.
Task<> learn_status(std::shared_ptr<Channel> channel) {
  const auto call = [channel] {
    channel->read_complaints();
    return libssh2_channel_wait_closed(channel->raw);
  };
  Task<long> closing = channel->session->drive(SshRole::reader, call);
  const auto closed = co_await within(channel->clock, Millis(2000), std::move(closing));
  channel->read_complaints();
  if (closed == 0) channel->status = libssh2_channel_get_exit_status(channel->raw);
}

class SshStream final : public Stream {
 public:
  explicit SshStream(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}
  ~SshStream() override { SshStream::close(); }

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    const auto channel = channel_;  // outlives this object while we wait
    const auto call = [channel, into] {
      channel->read_complaints();
      return libssh2_channel_read_ex(channel->raw, 0, reinterpret_cast<char*>(into.data()),
                                     into.size());
    };
    const long n = co_await channel->session->drive(SshRole::reader, call);
    if (n < 0) throw channel->session->lost(channel->session->last_error());
    if (n > 0) {
      channel->started = true;
      co_return static_cast<std::size_t>(n);
    }
    co_await learn_status(channel);
    if (!channel->started)
      throw channel->early_end(channel->status, escaped_lines(channel->said, kStderrKept));
    co_return 0;
  }

  Task<> write_all(std::span<const std::byte> from) override {
    const auto channel = channel_;
    while (!from.empty()) {
      const auto call = [channel, from] {
        const ssize_t n = libssh2_channel_write_ex(
            channel->raw, 0, reinterpret_cast<const char*>(from.data()), from.size());
        // Nothing written, no error: the window is closed until the peer opens it.
        return n == 0 ? ssize_t{LIBSSH2_ERROR_EAGAIN} : n;
      };
      const long n = co_await channel->session->drive(SshRole::writer, call);
      if (n < 0) {
        const Error error = channel->session->lost(channel->session->last_error());
        // A program that ended: its reason is in what it said, not in our failure to write.
        if (channel->started || libssh2_channel_eof(channel->raw) != 1) throw error;
        co_await learn_status(channel);
        throw channel->early_end(channel->status, escaped_lines(channel->said, kStderrKept));
      }
      from = from.subspan(static_cast<std::size_t>(n));
    }
  }

  Task<> finish_writing() override {
    const auto channel = channel_;
    const auto call = [channel] { return libssh2_channel_send_eof(channel->raw); };
    const long done = co_await channel->session->drive(SshRole::writer, call);
    if (done < 0) throw channel->session->lost(channel->session->last_error());
  }

  void close() noexcept override { channel_->session->close(); }

  std::string explain_end() override {
    const std::string words = escaped_lines(channel_->said, kStderrKept);
    std::string out = fmt::format("the program on {} ended", channel_->session->peer());
    if (channel_->status) out += fmt::format(" with status {}", *channel_->status);
    return words.empty() ? out : out + ": " + words;
  }

 private:
  std::shared_ptr<Channel> channel_;
};

}  // namespace

Task<std::unique_ptr<Stream>> ssh_exec(std::shared_ptr<SshSession> session, Clock& clock,
                                       Micros limit, std::string command, EarlyEnd early_end) {
  auto channel = std::make_shared<Channel>(session, clock, std::move(early_end));
  const auto open = [&]() -> long {
    channel->raw = libssh2_channel_open_session(session->raw());
    return channel->raw != nullptr ? 0 : libssh2_session_last_errno(session->raw());
  };
  const long opened = co_await session->step(clock, limit, "opening a channel", open);
  if (opened < 0) throw session->lost(session->last_error());
  const auto exec = [&] { return libssh2_channel_exec(channel->raw, command.c_str()); };
  const long started = co_await session->step(clock, limit, "starting a program", exec);
  if (started < 0)
    throw Error(ErrorId::connect_failed, fmt::format("{} does not let us run a program: {}",
                                                     session->peer(), session->last_error()));
  co_return std::make_unique<SshStream>(std::move(channel));
}

}  // namespace vmferry
