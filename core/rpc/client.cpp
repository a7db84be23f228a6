#include "core/rpc/client.hpp"

#include <array>
#include <asio/co_spawn.hpp>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/rpc/link.hpp"

namespace vmferry::rpc {

// A call's place among those under way, given back once it is answered.
struct Client::InFlight {
  InFlight(std::shared_ptr<Link> l, std::uint32_t s, Pending& p, bool is_long)
      : link(std::move(l)), serial(s), mine(p), counted_long(is_long) {
    link->pending.emplace(serial, &mine);
    link->long_calls += counted_long ? 1 : 0;
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() {
    link->long_calls -= counted_long ? 1 : 0;
    if (mine.reply || link->dead) {
      link->pending.erase(serial);
      link->place_free.notify();
    } else {
      link->abandon(serial);
    }
  }
  std::shared_ptr<Link> link;
  std::uint32_t serial;
  Pending& mine;
  bool counted_long;
};

Client::Client(std::unique_ptr<Stream> stream, Clock& clock, const Executor& ex,
               ClientOptions options)
    : link_(std::make_shared<Link>(std::move(stream), clock, ex, options)) {
  link_->heard = clock.now();
  // Each loop reports its end by making the link dead; nobody else waits for it.
  const auto over = [link = link_](const std::exception_ptr& e) {
    if (!e) return;
    try {
      std::rethrow_exception(e);
    } catch (...) {
      link->die(current_error());
    }
  };
  asio::co_spawn(ex, read_loop(link_), over);
  asio::co_spawn(ex, write_loop(link_), over);
}

Client::~Client() {
  link_->on_event = nullptr;
  link_->die(Error(ErrorId::connect_lost, "the connection was closed"));
}

bool Client::dead() const { return link_->dead.has_value(); }
void Client::on_event(OnEvent handler) { link_->on_event = std::move(handler); }

void Client::start_keepalive() {
  if (link_->pinging || link_->options.keepalive_interval == Micros(0)) return;
  link_->pinging = true;
  const auto over = [link = link_](const std::exception_ptr&) { link->pinging = false; };
  asio::co_spawn(link_->place_free.executor(), ping_loop(link_), over);
}

Task<> Client::read_loop(std::shared_ptr<Link> link) {
  std::array<std::byte, 65536> buffer;
  Assembler assembler;
  while (!link->dead) {
    const std::size_t n = co_await link->stream->read_some(buffer);
    if (n == 0) {
      const std::string why = link->stream->explain_end();
      throw Error(ErrorId::connect_lost, why.empty() ? "the peer closed the connection" : why);
    }
    link->heard = link->clock.now();
    assembler.feed(std::span(buffer).first(n));
    for (;;) {
      std::optional<Packet> packet = value_or_throw(assembler.next());
      if (!packet) break;
      link->route(*std::move(packet));
    }
  }
}

Task<> Client::write_loop(std::shared_ptr<Link> link) {
  while (!link->dead) {
    if (link->outbox.empty()) {
      co_await link->outbox_changed.wait();
      continue;
    }
    const Link::Outgoing next = std::move(link->outbox.front());
    link->outbox.pop_front();
    const auto it = link->pending.find(next.serial);
    if (it != link->pending.end() && it->second) it->second->written = true;
    co_await link->stream->write_all(next.bytes);
    link->outbox_bytes -= next.bytes.size();
    for (const auto& [serial, upload] : link->uploads) upload->changed.notify();
  }
}

Task<> Client::ping_loop(std::shared_ptr<Link> link) {
  const Micros interval = link->options.keepalive_interval;
  const Micros limit = interval * (link->options.keepalive_count + 1);
  while (!link->dead) {
    Task<> pause = link->clock.sleep(interval);
    co_await first_of(std::move(pause), link->died.wait());
    const Micros silence = link->clock.now() - link->heard;
    if (silence >= limit) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(silence).count();
      link->die(Error(ErrorId::connect_lost,
                      "the host gave no sign of life for " + std::to_string(seconds) + " s"));
    } else if (silence >= interval && !link->dead) {
      link->send(Link::keepalive(proto::kPing), {});
    }
  }
}

Task<> Client::wait_reply(std::shared_ptr<Link> link, Pending& pending) {
  while (!pending.reply && !link->dead) co_await pending.changed.wait();
}

static Error lost(Error why, bool written) {
  why.reply_lost = written;
  return why;
}

Task<> Client::wait_place(std::shared_ptr<Link> link, CallOptions options) {
  while (!link->dead && !link->has_place(options)) co_await link->place_free.wait();
}

void Client::post_encoded(std::int32_t procedure, const Bytes& payload) {
  if (link_->dead) return;
  Header header;
  header.procedure = procedure;
  header.serial = ++link_->serial;
  link_->pending.emplace(header.serial, nullptr);
  link_->send(header, payload);
}

Task<Packet> Client::exchange(std::int32_t procedure, const Bytes& payload, CallOptions options,
                              std::shared_ptr<Upload> upload) {
  const auto link = link_;
  const auto ex = co_await asio::this_coro::executor;
  co_await wait_place(link, options);
  if (link->dead) throw lost(*link->dead, false);

  Pending mine(ex);
  Header header;
  header.procedure = procedure;
  header.serial = ++link->serial;
  const InFlight place(link, header.serial, mine, options.deadline == Micros(0));
  if (upload) {  // before the answer: what the server says of the stream may follow it closely
    upload->call = header;
    link->uploads.emplace(header.serial, upload);
  }
  link->send(header, payload);
  try {
    if (options.deadline == Micros(0)) {
      co_await wait_reply(link, mine);
    } else {
      Task<> timer = link->clock.sleep(options.deadline);
      co_await first_of(wait_reply(link, mine), std::move(timer));
    }
  } catch (...) {  // cancelled by whoever waits for us: the request may still be carried out
    throw lost(current_error(), mine.written);
  }
  if (!mine.reply && link->dead) throw lost(*link->dead, mine.written);
  if (!mine.reply)
    throw lost(Error(ErrorId::timed_out, "the host did not answer in time"), mine.written);
  if (mine.reply->header.status == Status::error) throw to_error(mine.reply->payload);
  Packet reply = *mine.reply;
  co_return reply;
}

namespace {

ErrorId id_of(std::int32_t code) {
  using namespace proto;
  switch (code) {
    case kNoDomain:
      return ErrorId::no_domain;
    case kNoNetwork:
    case kNoStoragePool:
    case kNoStorageVol:
    case kNoNodeDevice:
    case kNoNwfilter:
    case kNoSecret:
      return ErrorId::not_found;
    case kNoSupport:
    case kArgumentUnsupported:
    case kOperationUnsupported:
      return ErrorId::unsupported;
    case kDomainExists:
      return ErrorId::exists;
    case kOperationAborted:
      return ErrorId::cancelled;
    case kOperationInvalid:
      return ErrorId::invalid_state;
    case kXmlError:
    case kXmlDetail:
    case kXmlInvalidSchema:
      return ErrorId::xml;
    case kAuthFailed:
    case kAuthCancelled:
    case kAuthUnavailable:
      return ErrorId::auth_needed;
    default:
      return ErrorId::remote;
  }
}

// As libvirt's own client does: an old daemon's way of saying "not supported".
bool says_unknown_procedure(const proto::RemoteError& e, std::string_view text) {
  const bool from = e.domain == proto::kFromRpc || e.domain == proto::kFromRemote;
  return e.code == proto::kRpc && from && text.starts_with("unknown procedure");
}

}  // namespace

Error to_error(std::span<const std::byte> error_payload) {
  const auto remote = xdr::decode<proto::RemoteError>(error_payload);
  if (!remote) return Error(ErrorId::protocol, "an error message that cannot be read");
  const std::string text = remote->message.v ? remote->message.v->v : "unknown error";
  const std::int32_t code =
      says_unknown_procedure(*remote, text) ? proto::kNoSupport : remote->code;
  Error error(id_of(code), escaped_lines(text));
  error.wire = {code, remote->domain};
  return error;
}

}  // namespace vmferry::rpc
