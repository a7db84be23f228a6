#include "tests/simulation/wire.hpp"

#include "core/drivers/remote/remote.hpp"
#include "core/serve/host_service.hpp"

namespace vmferry::sim {

namespace {

class CutStream final : public Stream {
 public:
  CutStream(std::unique_ptr<Stream> inner, WireCut cut)
      : inner_(std::move(inner)), cut_(std::move(cut)) {}

  Task<std::size_t> read_some(std::span<std::byte> into) override {
    const std::size_t most = room(into.size());
    const std::size_t n = co_await inner_->read_some(into.first(most));
    pass(n);
    co_return n;
  }
  Task<> write_all(std::span<const std::byte> from) override {
    while (!from.empty()) {
      const std::size_t most = room(from.size());
      co_await inner_->write_all(from.first(most));
      pass(most);
      from = from.subspan(most);
    }
  }
  Task<> finish_writing() override { return inner_->finish_writing(); }
  void close() noexcept override { inner_->close(); }

 private:
  bool struck() const { return cut_.passed[cut_.side] >= cut_.at; }
  // How many of that many bytes still pass before the cut; after it everything does again.
  std::size_t room(std::size_t wanted) const {
    if (struck()) return wanted;
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(wanted, cut_.at - cut_.passed[cut_.side]));
  }
  void pass(std::size_t bytes) {
    const bool before = struck();
    cut_.passed[cut_.side] += bytes;
    if (before || !struck()) return;
    inner_->close();
    throw Error(ErrorId::connect_lost, "the simulated connection broke");
  }

  std::unique_ptr<Stream> inner_;
  WireCut cut_;
};

Task<> serve_one(Net& network, std::unique_ptr<Stream> stream, std::string host) {
  const Opener open = [&network, host](std::string) -> Task<std::unique_ptr<Host>> {
    co_return std::make_unique<TestHost>(network.world().shared_from_this(),
                                         *network.world().host(host), "test:///" + host);
  };
  const auto served = co_await serve::serve_client(std::move(stream), network.clock(), open);
  (void)served;  // how the client went is the client's matter
  network.look();
}

}  // namespace

Task<std::unique_ptr<Host>> open_wire(Net& network, Party party, std::string host, WireCut cut) {
  if (!network.lives(party)) throw Error(ErrorId::connect_failed, "whoever connects is dead");
  PipeEnds pipe = make_pipe(network.executor());
  network.spawn(serve_one(network, std::move(pipe.b), host));
  auto opening = open_remote(std::make_unique<CutStream>(std::move(pipe.a), std::move(cut)),
                             network.clock(), {.name = "test:///" + host});
  std::unique_ptr<Host> opened = co_await std::move(opening);
  co_return opened;
}

}  // namespace vmferry::sim
