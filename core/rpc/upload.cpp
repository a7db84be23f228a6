// Streams to the server: data packets under the serial of the call that opened them, then OK, which
// the server confirms with OK; or ERROR, from either side.
#include "core/async/race.hpp"
#include "core/rpc/link.hpp"

namespace vmferry::rpc {

namespace {
constexpr std::size_t kChunk = 65536;            // as libvirt's daemons send a tunnel
constexpr std::size_t kUnsentMost = 512 * 1024;  // then a writer waits for the transport
constexpr Micros kConfirmWithin = std::chrono::seconds(60);
}  // namespace

class Client::UploadStream final : public Stream {
 public:
  UploadStream(std::shared_ptr<Link> link, std::shared_ptr<Upload> upload)
      : link_(std::move(link)), upload_(std::move(upload)) {}
  ~UploadStream() override { UploadStream::close(); }

  Task<std::size_t> read_some(std::span<std::byte>) override {
    throw Error(ErrorId::unsupported, "this stream only goes to the server");
    co_return 0;
  }

  Task<> write_all(std::span<const std::byte> from) override {
    const auto link = link_;
    const auto upload = upload_;
    while (!from.empty()) {
      while (link->outbox_bytes > kUnsentMost && alive(*link, *upload))
        co_await upload->changed.wait();
      check(*link, *upload);
      const auto chunk = from.first(std::min(from.size(), kChunk));
      link->send(header(*upload, Status::proceed), chunk);
      from = from.subspan(chunk.size());
    }
  }

  Task<> finish_writing() override {
    const auto link = link_;
    const auto upload = upload_;
    check(*link, *upload);
    link->send(header(*upload, Status::ok), {});
    finished_ = true;
    Task<> confirmed = wait_confirmed(link, upload);
    co_await with_deadline(link->clock, kConfirmWithin, "the server's confirmation of the stream",
                           std::move(confirmed));
    check(*link, *upload);
  }

  void close() noexcept override {
    if (link_->uploads.erase(upload_->call.serial) == 0) return;
    if (!finished_ && alive(*link_, *upload_)) link_->send(header(*upload_, Status::error), {});
    if (!upload_->failure) upload_->failure = Error(ErrorId::connect_lost, "the stream was closed");
    upload_->changed.notify();
  }

 private:
  static Header header(const Upload& upload, Status status) {
    Header h = upload.call;
    h.type = Type::stream;
    h.status = status;
    return h;
  }
  static bool alive(const Link& link, const Upload& upload) {
    return !link.dead && !upload.failure;
  }
  static void check(const Link& link, const Upload& upload) {
    if (upload.failure) throw Error(*upload.failure);
    if (link.dead) throw Error(*link.dead);
  }
  static Task<> wait_confirmed(std::shared_ptr<Link> link, std::shared_ptr<Upload> upload) {
    while (!upload->confirmed && alive(*link, *upload)) co_await upload->changed.wait();
  }

  std::shared_ptr<Link> link_;
  std::shared_ptr<Upload> upload_;
  bool finished_ = false;
};

Task<Packet> Client::open_upload(std::int32_t procedure, const Bytes& payload, CallOptions options,
                                 std::unique_ptr<Stream>& stream) {
  const auto ex = co_await asio::this_coro::executor;
  const auto upload = std::make_shared<Upload>(ex);
  const auto link = link_;
  Task<Packet> asked = exchange(procedure, payload, options, upload);
  Result<Packet> reply = co_await settle(std::move(asked));
  if (!reply) {
    link->uploads.erase(upload->call.serial);
    throw std::move(reply).error();
  }
  stream = std::make_unique<UploadStream>(link, upload);
  co_return *std::move(reply);
}

}  // namespace vmferry::rpc
