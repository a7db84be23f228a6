#include "core/rpc/serve.hpp"

#include <fmt/format.h>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <deque>
#include <map>

#include "core/async/race.hpp"
#include "core/async/signal.hpp"

namespace vmferry::rpc {

static Error rpc_error(ErrorId id, std::string text) {
  Error error(id, std::move(text));
  error.wire = {proto::kRpc, proto::kFromRpc};
  return error;
}

Error unknown_procedure(std::int32_t number) {
  return rpc_error(ErrorId::unsupported, fmt::format("unknown procedure: {}", number));
}

Error undecodable(const Error& why) {
  return rpc_error(ErrorId::protocol, "unable to decode message payload: " + why.message);
}

static std::int32_t code_of(ErrorId id) {
  using namespace proto;
  switch (id) {
    case ErrorId::no_domain:
      return kNoDomain;
    case ErrorId::unsupported:
      return kNoSupport;
    case ErrorId::exists:
      return kDomainExists;
    case ErrorId::cancelled:
      return kOperationAborted;
    case ErrorId::invalid_state:
      return kOperationInvalid;
    case ErrorId::xml:
      return kXmlError;
    case ErrorId::usage:
    case ErrorId::uri_invalid:
      return kInvalidArg;
    case ErrorId::auth_needed:
      return kAuthFailed;
    case ErrorId::denied:
      return kAccessDenied;
    case ErrorId::config_unsupported:
      return kConfigUnsupported;
    case ErrorId::timed_out:
      return kOperationTimeout;
    case ErrorId::internal:
    case ErrorId::protocol:
      return kInternalError;
    default:
      return kOperationFailed;
  }
}

proto::RemoteError to_remote_error(const Error& error, std::int32_t domain) {
  proto::RemoteError out;
  out.code = error.wire.code != 0 ? error.wire.code : code_of(error.id);
  out.domain = error.wire.domain != 0 ? error.wire.domain : domain;
  std::string text = error.message;
  for (const std::string& note : error.notes) text += "; " + note;
  std::erase(text, '\0');
  if (text.size() > 4096) text.resize(4096);
  out.message = proto::MaybeStr(proto::Str(text));
  out.str1 = proto::MaybeStr(proto::Str("%s"));
  out.str2 = proto::MaybeStr(proto::Str(std::move(text)));
  return out;
}

namespace {

constexpr Micros kLinger = std::chrono::seconds(2);  // for the last calls of a client that worked
constexpr std::size_t kStreamUnread = 1 << 20;  // bytes of streams that wait; then nothing is read

// A client's stream, and what of it has not been taken yet.
struct Inbound {
  Inbound(const Header& h, Opened o, const Executor& ex) : call(h), to(std::move(o)), changed(ex) {}
  Header call;
  Opened to;
  Signal changed;
  std::deque<Bytes> queue;
  std::size_t held = 0;  // bytes, what is being taken right now included
  bool ends = false, aborted = false;
};

// One connection. Its loops and calls are children; serve() ends after the last of them. They share
// ownership, so that it does not matter in which order a dying executor destroys them.
class Session final : public Peer, public std::enable_shared_from_this<Session> {
 public:
  Session(std::unique_ptr<Stream> s, Clock& c, const Executor& ex, ServeOptions o)
      : stream_(std::move(s)), clock_(c), ex_(ex), options_(o), changed_(ex), heard_(c.now()) {}

  void start(const MakeService& make) {
    service_ = make(*this);
    spawn(read_loop(shared_from_this()));
    spawn(write_loop(shared_from_this()));
    if (options_.first_call_within > Micros(0)) spawn(watch_silence(shared_from_this()));
    if (options_.drain) spawn(watch_drain(shared_from_this()));
  }

  void send_event(std::int32_t procedure, const Bytes& body) override {
    Header header;
    header.procedure = procedure;
    header.type = Type::message;
    send(header, body);
  }
  void start_keepalive() override {
    if (std::exchange(pinging_, true) || options_.keepalive_interval == Micros(0)) return;
    spawn(ping_loop(shared_from_this()));
  }
  void finish() override {
    finishing_ = true;
    changed_.notify();
  }

  static Task<> over(std::shared_ptr<Session> self) {
    while (!self->over_) co_await self->changed_.wait();
  }
  static Task<Result<>> wind_up(std::shared_ptr<Session> self) {
    self->end({});
    const auto children = self->children_;  // they leave the map as they end
    for (const auto& [number, child] : children) child->emit(asio::cancellation_type::terminal);
    while (!self->children_.empty()) co_await self->changed_.wait();
    self->service_.reset();
    co_return self->why_ ? Result<>(std::unexpect, *self->why_) : Result<>();
  }

 private:
  void end(std::optional<Error> why) {
    if (over_) return;
    over_ = true;
    why_ = std::move(why);
    stream_->close();
    waiting_.clear();
    for (const auto& [serial, in] : inbound_) in->to->close();
    inbound_.clear();
    changed_.notify();
  }

  void spawn(Task<> body) {
    const auto signal = std::make_shared<asio::cancellation_signal>();
    const int number = next_child_++;
    children_.emplace(number, signal);
    const auto ended = [self = shared_from_this(), number](const std::exception_ptr& e) {
      self->children_.erase(number);
      if (e) self->failed(e);
      self->changed_.notify();
    };
    asio::co_spawn(ex_, std::move(body), asio::bind_cancellation_slot(signal->slot(), ended));
  }

  void failed(const std::exception_ptr& e) {
    try {
      std::rethrow_exception(e);
    } catch (...) {
      Error why = current_error();
      // A peer that goes away is how connections end.
      end(why.id == ErrorId::connect_lost ? std::nullopt : std::optional(std::move(why)));
    }
  }

  void send(const Header& header, std::span<const std::byte> payload) {
    if (over_) return;
    Bytes bytes = value_or_throw(pack(header, payload));
    if (outbox_bytes_ + bytes.size() > options_.memory_max + kPacketMax)
      return end(Error(ErrorId::protocol, "the client does not read what it is sent"));
    outbox_bytes_ += bytes.size();
    outbox_.push_back(std::move(bytes));
    changed_.notify();
  }

  void reply(Header header, Result<Bytes> result) {
    if (over_) return;
    header.type = Type::reply;
    if (result && result->size() > kPacketMax - kPacketMin)
      result = fail(ErrorId::unsupported, "the answer is bigger than a packet may be");
    header.status = result ? Status::ok : Status::error;
    if (result) return send(header, *result);
    const auto error = to_remote_error(result.error(), options_.error_domain);
    send(header, value_or_throw(xdr::encode(error)));
  }

  void refuse(const Header& header, std::string why) {
    reply(header, std::unexpected(rpc_error(ErrorId::unsupported, std::move(why))));
  }

  // -- streams ------------------------------------------------------------------------------------

  void open_stream(const Header& call, Opened to) {
    const auto in = std::make_shared<Inbound>(call, std::move(to), ex_);
    inbound_.insert_or_assign(call.serial, in);
    spawn(pump(shared_from_this(), in));
  }

  // Packets of a stream that is not open (any more) mean nothing: they may have crossed its end.
  void route_stream(Packet packet) {
    const auto at = inbound_.find(packet.header.serial);
    if (at == inbound_.end() || at->second->call.procedure != packet.header.procedure) return;
    const auto in = at->second;
    if (packet.header.status == Status::proceed && !in->ends) {
      stream_bytes_ += packet.payload.size();
      in->held += packet.payload.size();
      in->queue.push_back(std::move(packet.payload));
    } else if (packet.header.status == Status::ok) {
      in->ends = true;
    } else if (packet.header.status == Status::error) {
      in->aborted = true;
      in->to->close();
    }
    in->changed.notify();
  }

  void end_stream(const Inbound& in, const Result<>& how) {
    if (over_) return;
    Header header = in.call;
    header.type = Type::stream;
    header.status = how ? Status::ok : Status::error;
    if (how) return send(header, {});
    const auto error = to_remote_error(how.error(), options_.error_domain);
    send(header, value_or_throw(xdr::encode(error)));
  }

  static Task<> carry(std::shared_ptr<Session> self, std::shared_ptr<Inbound> in) {
    while (!self->over_ && !in->aborted) {
      if (in->queue.empty()) {
        if (in->ends) {
          co_await in->to->finish_writing();
          co_return;
        }
        co_await in->changed.wait();
        continue;
      }
      const Bytes next = std::move(in->queue.front());
      in->queue.pop_front();
      co_await in->to->write_all(next);
      self->stream_bytes_ -= next.size();
      in->held -= next.size();
      self->changed_.notify();
    }
  }

  static Task<> pump(std::shared_ptr<Session> self, std::shared_ptr<Inbound> in) {
    Task<> carrying = carry(self, in);
    const Result<> ended = co_await settle(std::move(carrying));
    const auto at = self->inbound_.find(in->call.serial);
    if (at != self->inbound_.end() && at->second == in) self->inbound_.erase(at);
    in->to->close();
    self->stream_bytes_ -= in->held;
    self->end_stream(*in, in->aborted ? Result<>() : ended);
    self->changed_.notify();
  }

  // Streams that nobody opened, holes, messages and replies have no receiver here.
  void route(Packet packet) {
    const Header& h = packet.header;
    if (h.program == proto::kKeepaliveProgram && h.type == Type::message) {
      if (h.procedure == proto::kPing) send_keepalive(proto::kPong);
      return;
    }
    if (h.type == Type::stream && h.program == proto::kRemoteProgram)
      return route_stream(std::move(packet));
    if (h.type != Type::call && h.type != Type::call_with_fds) return;
    if (h.program != proto::kRemoteProgram)
      return refuse(h, fmt::format("unknown program {:#x}", h.program));
    if (h.version != proto::kVersion)
      return refuse(h, fmt::format("unknown version {} of program {:#x}", h.version, h.program));
    if (h.type == Type::call_with_fds)
      return refuse(h, "file descriptors cannot be passed on this connection");
    if (h.status != Status::ok)
      return refuse(h, fmt::format("a call with status {}", std::to_underlying(h.status)));
    called_ = true;
    held_bytes_ += packet.payload.size();
    waiting_.push_back(std::move(packet));
    start_waiting();
  }

  void send_keepalive(std::int32_t procedure) {
    Header header;
    header.program = proto::kKeepaliveProgram;
    header.procedure = procedure;
    header.type = Type::message;
    send(header, {});
  }

  void start_waiting() {
    while (!over_ && !waiting_.empty() && calls_ < options_.calls_max) {
      ++calls_;
      Packet next = std::move(waiting_.front());
      waiting_.pop_front();
      spawn(run_call(shared_from_this(), std::move(next)));
    }
  }

  bool full() const {
    return waiting_.size() >= options_.waiting_max || stream_bytes_ > kStreamUnread ||
           (held_bytes_ > options_.memory_max && calls_ > 0);
  }

  // A coroutine, so that what the service throws at once is an answer too.
  static Task<Bytes> answer(std::shared_ptr<Session> self, Header header, Bytes payload,
                            Opened& opened) {
    Task<Bytes> body = self->service_->call(header.procedure, std::move(payload), opened);
    Bytes result = co_await std::move(body);
    const auto& open = self->inbound_;
    if (opened && (open.size() >= self->options_.streams_max || open.contains(header.serial))) {
      opened.reset();
      throw rpc_error(ErrorId::refused, "too many streams are open");
    }
    co_return result;
  }

  static Task<> run_call(std::shared_ptr<Session> self, Packet packet) {
    const Header header = packet.header;
    const std::size_t held = packet.payload.size();
    Opened opened;
    Task<Bytes> body = answer(self, header, std::move(packet.payload), opened);
    Result<Bytes> result = co_await settle(std::move(body));
    --self->calls_;
    self->held_bytes_ -= held;
    const bool streams = result && opened && !self->over_;
    self->reply(header, std::move(result));
    if (streams) self->open_stream(header, std::move(opened));
    self->start_waiting();
    self->changed_.notify();
  }

  static Task<> read_loop(std::shared_ptr<Session> self) {
    std::vector<std::byte> buffer(std::size_t{64} << 10);
    Assembler assembler;
    while (!self->over_) {
      const std::size_t n = co_await self->stream_->read_some(buffer);
      if (n == 0) break;
      self->heard_ = self->clock_.now();
      assembler.feed(std::span(buffer).first(n));
      for (;;) {
        std::optional<Packet> packet = value_or_throw(assembler.next());
        if (!packet) break;
        self->route(*std::move(packet));
        while (!self->over_ && self->full()) co_await self->changed_.wait();
        self->heard_ = self->clock_.now();  // it was we who did not listen
      }
    }
    self->end({});
  }

  static Task<> write_loop(std::shared_ptr<Session> self) {
    while (!self->over_) {
      if (self->outbox_.empty()) {
        if (self->finishing_ && self->calls_ == 0) self->end({});
        if (!self->over_) co_await self->changed_.wait();
        continue;
      }
      const Bytes next = std::move(self->outbox_.front());
      self->outbox_.pop_front();
      co_await self->stream_->write_all(next);
      self->outbox_bytes_ -= next.size();
    }
  }

  static Task<> ping_loop(std::shared_ptr<Session> self) {
    const Micros interval = self->options_.keepalive_interval;
    const Micros limit = interval * (self->options_.keepalive_count + 1);
    while (!self->over_) {
      co_await self->clock_.sleep(interval);
      const Micros silence = self->clock_.now() - self->heard_;
      if (self->full()) continue;
      if (silence >= limit)
        self->end(Error(ErrorId::timed_out, "the client gave no sign of life"));
      else if (silence >= interval)
        self->send_keepalive(proto::kPing);
    }
  }

  // A connection costs something: who does not want anything has to leave.
  static Task<> watch_silence(std::shared_ptr<Session> self) {
    co_await self->clock_.sleep(self->options_.first_call_within);
    if (!self->called_)
      self->end(Error(ErrorId::timed_out, "the client connected and asked for nothing"));
  }

  bool at_work() const { return calls_ > 0 || !waiting_.empty() || service_->busy(); }

  // Who was in the middle of something has some last calls to make when that is done, and leaves by
  // itself: stock virsh dies of SIGPIPE when it is left first, though its migration went well.
  static Task<> watch_drain(std::shared_ptr<Session> self) {
    co_await self->options_.drain->wait();
    bool worked = false;
    while (!self->over_) {
      if (self->at_work()) {
        worked = true;
        co_await self->changed_.wait();
        continue;
      }
      if (worked) {
        Task<> back = working(self);
        Task<> patience = self->clock_.sleep(kLinger);
        co_await first_of(std::move(back), std::move(patience));
        if (self->over_ || self->at_work()) continue;
      }
      self->finish();
      co_await self->changed_.wait();
    }
  }
  static Task<> working(std::shared_ptr<Session> self) {
    while (!self->over_ && !self->at_work()) co_await self->changed_.wait();
  }

  std::unique_ptr<Stream> stream_;
  Clock& clock_;
  Executor ex_;
  ServeOptions options_;
  Signal changed_;
  Micros heard_;  // when anything last came in
  std::unique_ptr<Service> service_;
  std::map<int, std::shared_ptr<asio::cancellation_signal>> children_;
  int next_child_ = 0;
  std::deque<Bytes> outbox_;
  std::size_t outbox_bytes_ = 0;
  std::deque<Packet> waiting_;
  std::size_t calls_ = 0, held_bytes_ = 0, stream_bytes_ = 0;
  std::map<std::uint32_t, std::shared_ptr<Inbound>> inbound_;  // by serial
  bool pinging_ = false, finishing_ = false, over_ = false, called_ = false;
  std::optional<Error> why_;
};

}  // namespace

Task<Result<>> serve(std::unique_ptr<Stream> stream, Clock& clock, MakeService make,
                     ServeOptions options) {
  const auto ex = co_await asio::this_coro::executor;
  const auto session = std::make_shared<Session>(std::move(stream), clock, ex, options);
  session->start(make);
  Task<> waiting = Session::over(session);
  (void)co_await settle(std::move(waiting));
  co_await shield();
  Task<Result<>> ending = Session::wind_up(session);
  co_return co_await std::move(ending);
}

}  // namespace vmferry::rpc
