#include "core/drivers/test/reception.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>

#include "core/async/race.hpp"
#include "core/drivers/test/data.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;
constexpr Micros kArriveWithin = 30s, kGreetWithin = 10s;
constexpr int kGreetersMost = 64;
constexpr std::array<std::byte, 4> kMagic{std::byte{'V'}, std::byte{'F'}, std::byte{'M'},
                                          std::byte{'1'}};

Error broke(const std::string& why) {
  return refusal(ErrorId::remote, 9, "the migration stream broke: " + why);
}

// What a client's tunnel, or a source in this process, writes to.
class TunnelEnd final : public Stream {
 public:
  explicit TunnelEnd(std::shared_ptr<Reception> reception) : reception_(std::move(reception)) {}
  ~TunnelEnd() override { TunnelEnd::close(); }
  Task<std::size_t> read_some(std::span<std::byte>) override {
    throw Error(ErrorId::unsupported, "a tunnel goes one way");
    co_return 0;
  }
  Task<> write_all(std::span<const std::byte> from) override {
    reception_->feed(from);
    co_return;
  }
  Task<> finish_writing() override {
    over_ = true;
    reception_->end();
    co_return;
  }
  void close() noexcept override {
    if (!std::exchange(over_, true)) reception_->fail("the tunnel was closed");
  }

 private:
  std::shared_ptr<Reception> reception_;
  bool over_ = false;
};

}  // namespace

Bytes data_greeting(const MigrationId& id) {
  Bytes out(kMagic.begin(), kMagic.end());
  out.insert(out.end(), id.begin(), id.end());
  return out;
}

Reception::Reception(std::shared_ptr<World> world, std::weak_ptr<Guest> guest,
                     std::weak_ptr<Incoming> incoming, const Executor& ex)
    : world_(world),
      clock_(world->clock()),
      guest_(std::move(guest)),
      incoming_(std::move(incoming)),
      ex_(ex),
      changed_(ex) {}

void Reception::close() noexcept {
  closed_ = true;
  if (listener_) listener_->close();
  if (stream_) stream_->close();
  changed_.notify();
}

std::unique_ptr<Stream> Reception::tunnel() {
  return std::make_unique<TunnelEnd>(shared_from_this());
}

// -- what arrives ---------------------------------------------------------------------------------

void Reception::fail(const std::string& why) {
  const auto in = incoming_.lock();
  if (in && in->trouble.empty() && !in->loaded) in->trouble = why;
  changed_.notify();
}

void Reception::feed(std::span<const std::byte> bytes) {
  const auto world = world_.lock();
  const auto guest = guest_.lock();
  const auto in = incoming_.lock();
  if (closed_ || !world || !guest || !in || in->gone) throw broke("the incoming guest is gone");
  if (!in->trouble.empty()) throw broke(in->trouble);
  if (in->postcopy) {
    world->advance(*guest);
    in->wants.clear();  // the source pushes: nobody can be asked
  }
  partial_.insert(partial_.end(), bytes.begin(), bytes.end());
  const std::size_t whole = whole_frames(partial_);
  const auto taken = unpack(std::span(partial_).first(whole), *guest, *in);
  if (!taken) {
    fail(taken.error().message);
    throw broke(taken.error().message);
  }
  partial_.erase(partial_.begin(), partial_.begin() + static_cast<std::ptrdiff_t>(whole));
  changed_.notify();
}

void Reception::end() {
  const auto in = incoming_.lock();
  if (!in || in->gone) throw broke("the incoming guest is gone");
  if (!in->loaded) fail("it ended before everything was here");
  if (!in->trouble.empty()) throw broke(in->trouble);
}

// -- connections ----------------------------------------------------------------------------------

void Reception::accept_on(std::unique_ptr<DataListener> listener, const MigrationId& id) {
  listener_ = std::move(listener);
  id_ = id;
  asio::co_spawn(ex_, accept_all(shared_from_this()), [](const std::exception_ptr&) {});
}

Task<> Reception::accept_all(std::shared_ptr<Reception> self) {
  while (!self->closed_ && !self->stream_) {
    Task<std::unique_ptr<Stream>> accepting = self->listener_->accept();
    Result<std::unique_ptr<Stream>> stream = co_await settle(std::move(accepting));
    if (self->closed_ || self->stream_) break;
    if (!stream) {
      co_await self->clock_.sleep(100ms);
      continue;
    }
    if (self->greeters_ >= kGreetersMost) continue;  // the stream closes
    ++self->greeters_;
    asio::co_spawn(self->ex_, greet(self, *std::move(stream)),
                   [self](const std::exception_ptr&) { --self->greeters_; });
  }
}

Task<> Reception::greet(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream) {
  Bytes got(kMagic.size() + self->id_.size());
  Task<> reading = read_exactly(*stream, got);
  co_await with_deadline(self->clock_, kGreetWithin, "a greeting", std::move(reading));
  if (self->closed_ || self->stream_ || got != data_greeting(self->id_)) co_return;
  self->stream_ = std::move(stream);
  self->listener_->close();
  Task<> receiving = receive(self);
  const Result<> received = co_await settle(std::move(receiving));
  if (!received) self->fail(received.error().message);
  self->stream_->close();
}

Task<> Reception::receive(std::shared_ptr<Reception> self) {
  Bytes buffer(std::size_t{64} << 10);
  for (;;) {
    const std::size_t n = co_await self->stream_->read_some(buffer);
    if (n == 0) break;
    self->feed(std::span(buffer).first(n));
  }
  self->end();
}

// -- waiting --------------------------------------------------------------------------------------

Task<> Reception::until_arrived(std::shared_ptr<Reception> self) {
  for (;;) {
    const auto in = self->incoming_.lock();
    if (!in || in->gone || in->loaded || in->postcopy || !in->trouble.empty()) co_return;
    co_await self->changed_.wait();
  }
}

Task<> Reception::arrived() {
  Task<> waiting = until_arrived(shared_from_this());
  Task<> patience = clock_.sleep(kArriveWithin);
  co_await first_of(std::move(waiting), std::move(patience));
}

Task<> Reception::until_changed(std::shared_ptr<Reception> self) { co_await self->changed_.wait(); }

Task<> Reception::next() {
  Task<> waiting = until_changed(shared_from_this());
  Task<> patience = clock_.sleep(50ms);
  co_await first_of(std::move(waiting), std::move(patience));
}

Task<> await_postcopy(World& world, std::shared_ptr<Guest> guest) {
  const auto in = guest->in;
  const auto reception = in->reception;
  while (!in->loaded) {
    if (in->gone || !in->trouble.empty())
      throw refusal(ErrorId::remote, 9,
                    "post-copy broke: the source cannot send the rest: " + in->trouble);
    co_await reception->next();
    if (!in->gone) world.advance(*guest);
  }
}

}  // namespace vmferry::sim
