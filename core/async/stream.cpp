#include "core/async/stream.hpp"

#include <algorithm>
#include <deque>

#include "core/async/signal.hpp"

namespace vmferry {

Task<> read_exactly(Stream& stream, std::span<std::byte> into) {
  while (!into.empty()) {
    const std::size_t n = co_await stream.read_some(into);
    if (n == 0) {
      const std::string why = stream.explain_end();
      throw Error(ErrorId::connect_lost, why.empty() ? "the peer closed the connection" : why);
    }
    into = into.subspan(n);
  }
}

namespace {

// Bytes under way in one direction. Bounded, so that a reader who does not read slows the writer.
struct Channel {
  explicit Channel(const Executor& ex) : changed(ex) {}
  static constexpr std::size_t kMost = 1 << 20;
  std::deque<std::byte> bytes;
  Signal changed;
  bool ended = false;   // the writer said so
  bool closed = false;  // either end is gone
};

class PipeEnd final : public Stream {
 public:
  PipeEnd(std::shared_ptr<Channel> in, std::shared_ptr<Channel> out, std::size_t chunk_max)
      : in_(std::move(in)), out_(std::move(out)), chunk_max_(chunk_max) {}
  ~PipeEnd() override { PipeEnd::close(); }

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    const auto in = in_;  // this end may be gone when the wait is over
    const std::size_t chunk_max = chunk_max_;
    while (in->bytes.empty() && !in->ended && !in->closed) co_await in->changed.wait();
    const std::size_t n = std::min({into.size(), in->bytes.size(), chunk_max});
    const auto from = in->bytes.begin();
    std::copy_n(from, n, into.begin());
    in->bytes.erase(from, from + static_cast<std::ptrdiff_t>(n));
    in->changed.notify();
    co_return n;
  }

  Task<> write_all(std::span<const std::byte> from) override {
    const auto out = out_;
    while (!from.empty()) {
      while (out->bytes.size() >= Channel::kMost && !out->closed) co_await out->changed.wait();
      if (out->closed || out->ended) throw Error(ErrorId::connect_lost, "the pipe is closed");
      const std::size_t n = std::min(from.size(), Channel::kMost - out->bytes.size());
      out->bytes.insert(out->bytes.end(), from.begin(),
                        from.begin() + static_cast<std::ptrdiff_t>(n));
      from = from.subspan(n);
      out->changed.notify();
    }
  }

  Task<> finish_writing() override {
    out_->ended = true;
    out_->changed.notify();
    co_return;
  }

  void close() noexcept override {
    for (const auto& channel : {in_, out_}) {
      channel->closed = true;
      channel->changed.notify();
    }
  }

 private:
  std::shared_ptr<Channel> in_, out_;
  std::size_t chunk_max_;
};

}  // namespace

PipeEnds make_pipe(const Executor& ex, std::size_t chunk_max) {
  auto there = std::make_shared<Channel>(ex);
  auto back = std::make_shared<Channel>(ex);
  return {std::make_unique<PipeEnd>(back, there, chunk_max),
          std::make_unique<PipeEnd>(there, back, chunk_max)};
}

}  // namespace vmferry
