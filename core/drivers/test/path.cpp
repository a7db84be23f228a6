#include "core/drivers/test/path.hpp"

#include <fmt/format.h>

#include <asio/co_spawn.hpp>

#include "core/async/race.hpp"
#include "core/drivers/test/reception.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;

Error broke(const std::string& why) {
  return refusal(ErrorId::remote, 9, "the migration stream broke: " + why);
}

class LocalPath final : public DataPath {
 public:
  LocalPath(Leaving leaving, HostState* host, const std::shared_ptr<Guest>& guest)
      : leaving_(std::move(leaving)), host_(host), in_(guest->in), peer_(guest) {}

  Task<> deliver(const Bytes& frames) override {
    const auto guest = peer_.lock();
    if (!guest || in_->gone) throw refusal(ErrorId::remote, 9, "the migration stream broke");
    const auto taken = unpack(frames, *guest, *in_);
    if (taken) co_return;
    in_->trouble = taken.error().message;
    throw refusal(ErrorId::remote, 9, in_->trouble);
  }
  void check() const override {
    if (!in_->trouble.empty()) throw refusal(ErrorId::remote, 9, in_->trouble);
    if (in_->gone) throw broke("the destination closed it");
  }
  void check_disks() const override {
    if (!leaving_.world->listener(in_->disks_uri).second)
      throw refusal(ErrorId::remote, 9, "unable to connect to the destination's disk server");
  }
  Task<> finish() override { co_return; }
  void follow(std::vector<std::uint32_t>) override {  // the destination fetches what it lacks
    in_->feeder = leaving_.guest;
    in_->feeding = leaving_.job;
  }
  const HostState* destination() const override { return host_; }

 private:
  Leaving leaving_;
  HostState* host_;
  std::shared_ptr<Incoming> in_;
  std::weak_ptr<Guest> peer_;
};

// Somebody wants the copy to end, though the destination does not read.
Task<> until_given_up(std::shared_ptr<World> world, std::shared_ptr<OutJob> job) {
  while (!job->abort && job->broken.empty()) co_await world->clock().sleep(100ms);
}

Task<> write_or_stop(std::shared_ptr<World> world, std::shared_ptr<OutJob> job, Stream& stream,
                     const Bytes& frames) {
  Task<> writing = stream.write_all(frames);
  Task<> giving_up = until_given_up(world, job);
  co_await first_of(std::move(writing), std::move(giving_up));
}

// Post-copy: the rest of the memory, as fast as the link allows. Its job keeps it going: it ends
// when the guest is ended or resumed here, or the destination does not listen any more.
Task<> push(Leaving leaving, std::shared_ptr<Stream> stream, std::vector<std::uint32_t> pages) {
  const auto& [world, guest, job, ex] = leaving;
  Packer packer(Method::none, 0, 0);
  std::size_t left = pages.size();
  for (std::size_t at = 0; at < pages.size();) {
    Bytes frames;
    std::uint64_t cost = 0;
    for (int i = 0; i < 8 && at < pages.size(); ++i, ++at, --left) {
      const Bytes one = packer.page(guest->memory, pages[at], job->figures);
      cost += weight(one, guest->spec.shape, job->figures.page_bytes);
      frames.insert(frames.end(), one.begin(), one.end());
    }
    job->figures.memory_sent += cost;
    job->figures.memory_remaining = left * job->figures.page_bytes;
    job->figures.bps = postcopy_rate(*world, *guest, *job);
    co_await stream->write_all(frames);
    const double due = static_cast<double>(cost) / static_cast<double>(job->figures.bps);
    const double real = due / std::max(world->speed, 1e-6);
    co_await world->clock().sleep(Micros(static_cast<std::int64_t>(real * 1e6) + 1));
    const bool ours = guest->active() && guest->status.reason == kPausedPostcopy;
    if (!ours || !job->broken.empty() || job->abort || !world->link().up) co_return;
  }
  const Bytes end = packer.end(0);
  job->fed = true;  // whoever has seen it arrive may end the source
  co_await stream->write_all(end);
  co_await stream->finish_writing();
}

class StreamPath final : public DataPath {
 public:
  StreamPath(Leaving leaving, std::shared_ptr<Stream> stream)
      : leaving_(std::move(leaving)), stream_(std::move(stream)) {}

  Task<> deliver(const Bytes& frames) override {
    Task<> writing = write_or_stop(leaving_.world, leaving_.job, *stream_, frames);
    const Result<> written = co_await settle(std::move(writing));
    if (!written && written.error().wire.code != 0) throw Error(written.error());
    if (!written) throw broke(written.error().message);
  }
  void check() const override {}        // the next write tells
  void check_disks() const override {}  // they go with the memory
  Task<> finish() override {
    Task<> ending = stream_->finish_writing();
    const Result<> ended = co_await settle(std::move(ending));
    if (!ended && ended.error().wire.code != 0) throw Error(ended.error());
    if (!ended) throw broke(ended.error().message);
  }
  void follow(std::vector<std::uint32_t> pages) override {
    asio::co_spawn(leaving_.ex, push(leaving_, stream_, std::move(pages)),
                   [stream = stream_](const std::exception_ptr&) { stream->close(); });
  }
  const HostState* destination() const override { return nullptr; }

 private:
  Leaving leaving_;
  std::shared_ptr<Stream> stream_;
};

Task<std::shared_ptr<Stream>> dial(World& world, const std::string& uri, const MigrationId& id) {
  Task<std::unique_ptr<Stream>> dialling = world.network->dial(uri);
  std::shared_ptr<Stream> stream = co_await std::move(dialling);
  const Bytes greeting = data_greeting(id);
  co_await stream->write_all(greeting);
  co_return stream;
}

// Version 1: what the guest is goes ahead of its memory.
void introduce(const Leaving& leaving, HostState& host, const std::shared_ptr<Guest>& guest) {
  GuestSpec spec = leaving.guest->spec;
  if (host.guests.contains(spec.uuid))
    throw refusal(ErrorId::exists, 55, "the guest is known on the destination already");
  leaving.job->figures.memory_sent += spec.xml.size();
  host.guests.erase(guest->spec.uuid);
  const std::string name = guest->name == kUnnamed ? spec.name : guest->name;
  guest->spec = std::move(spec);
  guest->memory = Memory::empty(guest->spec.shape);
  host.take(guest, name);
  guest->in->yet_unknown = false;
}

}  // namespace

Task<std::unique_ptr<DataPath>> open_path(Leaving leaving, std::string uri, bool tls) {
  World& world = *leaving.world;
  const auto [host, guest] = world.listener(uri);
  const bool here = guest && guest->in && (guest->in->id == leaving.job->id || !world.network);
  if (here && world.link().up) {
    if (guest->in->yet_unknown) introduce(leaving, *host, guest);
    co_return std::make_unique<LocalPath>(leaving, host, guest);
  }
  if (here || !world.network || !world.link().up)
    throw refusal(ErrorId::remote, 9,
                  fmt::format("unable to connect to {}: connection refused", uri));
  if (tls)
    throw refusal(ErrorId::unsupported, 84,
                  "there is no TLS for data between simulated hosts of two processes");
  const MigrationId id = leaving.job->id;
  Task<std::shared_ptr<Stream>> dialling = dial(world, uri, id);
  Result<std::shared_ptr<Stream>> stream = co_await settle(std::move(dialling));
  if (!stream)
    throw refusal(ErrorId::remote, 9,
                  fmt::format("unable to connect to {}: {}", uri, stream.error().message));
  co_return std::make_unique<StreamPath>(std::move(leaving), *std::move(stream));
}

std::unique_ptr<DataPath> tunnel_path(Leaving leaving, std::unique_ptr<Stream> data) {
  return std::make_unique<StreamPath>(std::move(leaving), std::move(data));
}

}  // namespace vmferry::sim
