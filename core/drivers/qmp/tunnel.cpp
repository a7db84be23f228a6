#include "core/drivers/qmp/tunnel.hpp"

#include "core/async/race.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::size_t kPiece = 256 << 10;

// What lies between QEMU and the tunnel. Ending one end ends the other, so that neither waits for
// ever.
struct Way {
  std::unique_ptr<Door> door;
  std::unique_ptr<Stream> from, to;

  void close() noexcept {
    door->close();
    if (from) from->close();
    to->close();
  }
};

Task<> carry_all(Way& way) {
  way.from = co_await way.door->accept();
  way.door->close();
  Bytes piece(kPiece);
  for (;;) {
    const std::size_t n = co_await way.from->read_some(piece);
    if (n == 0) break;
    const std::span<const std::byte> got = std::span(piece).first(n);
    co_await way.to->write_all(got);
  }
  co_await way.to->finish_writing();
}

Task<bool> carry(Way& way, Result<>& carried) {
  Task<> carrying = carry_all(way);
  carried = co_await settle(std::move(carrying));
  if (!carried) way.close();
  co_return carried.has_value();
}

// A copy that failed has nothing more to say: what was sent must not look whole.
Task<CopyOutcome> copy(Way& way, Client& client, Clock& clock, const CopyPlan& plan) {
  Task<CopyOutcome> copying = copy_guest(client, clock, plan);
  auto copied = co_await settle(std::move(copying));
  if (!copied) way.close();
  co_return value_or_throw(std::move(copied));
}

}  // namespace

Task<CopyOutcome> copy_through(Client& client, CopyPlan plan, const QmpEnvironment& around,
                               std::unique_ptr<Stream> tunnel, std::string instance_dir) {
  if (!around.listen) throw Error(ErrorId::unsupported, "no tunnel can be made here");
  const std::string path = tunnel_of(instance_dir);
  const auto ex = co_await asio::this_coro::executor;
  Way way{around.listen(ex, path), nullptr, std::move(tunnel)};
  plan.uri = "unix:" + path;
  Result<> carried;
  Task<bool> carrying = carry(way, carried);
  Task<CopyOutcome> copying = copy(way, client, around.clock, plan);
  auto ended = co_await settle(both(std::move(carrying), std::move(copying)));
  if (ended && carried) co_return std::move(ended->second);
  if (ended) throw Error(ErrorId::migrate_failed, "the tunnel broke: " + carried.error().message);
  if (!carried && ended.error().id == ErrorId::migrate_failed)
    ended.error().note("the tunnel: " + carried.error().message);
  throw std::move(ended).error();
}

}  // namespace vmferry::qmp
