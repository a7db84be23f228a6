#include "core/qmp/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/async/race.hpp"

namespace vmferry::qmp {

namespace {
// Clears a flag and wakes the others however the coroutine that holds it ends.
struct Turn {
  bool& taken;
  Signal& changed;
  Turn(bool& flag, Signal& signal) : taken(flag), changed(signal) { taken = true; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    taken = false;
    changed.notify();
  }
};

// A line cut short by a cancellation would spoil every later one.
struct Whole {
  std::optional<Error>& failure;
  bool sent = false;
  ~Whole() {
    if (!sent && !failure)
      failure = Error(ErrorId::connect_lost, "a command to QEMU's monitor was cut short");
  }
};

// Forgets a reply that nobody waits for any more.
struct Expected {
  std::map<std::uint64_t, std::optional<Json>>& replies;
  std::uint64_t id;
  ~Expected() { replies.erase(id); }
};

Error refusal(const std::string& command, const Json& error) {
  return Error(ErrorId::remote, fmt::format("QEMU refused {}: {}", command,
                                            text_at(error, "desc", "no reason given")));
}
}  // namespace

Client::Client(std::unique_ptr<Stream> stream, Clock& clock, const Executor& ex)
    : stream_(std::move(stream)), clock_(&clock), changed_(ex) {}

Task<std::unique_ptr<Client>> Client::open(std::unique_ptr<Stream> stream, Clock& clock,
                                           Micros limit) {
  const Executor ex = co_await asio::this_coro::executor;
  auto client = std::make_unique<Client>(std::move(stream), clock, ex);
  Task<> greeting = client->greet();
  co_await with_deadline(clock, limit,
                         "the greeting of QEMU's monitor (another client may hold it)",
                         std::move(greeting));
  Json arguments = Json::object();
  if (client->oob_) arguments["enable"] = Json::array({"oob"});
  co_await client->execute("qmp_capabilities", std::move(arguments), limit);
  co_return client;
}

Task<> Client::greet() {
  while (!greeting_) co_await read_turn();
  const Json& qmp = at(*greeting_, "QMP");
  if (!qmp.is_object())
    throw Error(ErrorId::connect_protocol, "what answers on the monitor's socket is not QMP");
  version_ = at(qmp, "version");
  const Json& capabilities = at(qmp, "capabilities");
  oob_ = capabilities.is_array() && std::ranges::find(capabilities, "oob") != capabilities.end();
}

Task<Json> Client::execute(std::string command, Json arguments, Micros limit) {
  return call("execute", std::move(command), std::move(arguments), limit);
}

Task<Json> Client::execute_oob(std::string command, Json arguments, Micros limit) {
  if (!oob_) throw Error(ErrorId::unsupported, "this QEMU has no out-of-band commands");
  return call("exec-oob", std::move(command), std::move(arguments), limit);
}

Task<Json> Client::call(const char* verb, std::string command, Json arguments, Micros limit) {
  const std::uint64_t id = ++last_id_;
  Json message = {{verb, command}, {"id", id}};
  if (!arguments.empty()) message["arguments"] = std::move(arguments);
  replies_[id];
  const Expected expected{replies_, id};
  Task<Json> exchanged =
      exchange(id, message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  Json reply = co_await with_deadline(*clock_, limit, fmt::format("QEMU's answer to {}", command),
                                      std::move(exchanged));
  if (reply.contains("error")) throw refusal(command, reply["error"]);
  Json result = at(reply, "return");
  co_return result;
}

Task<Json> Client::exchange(std::uint64_t id, std::string line) {
  co_await send(std::move(line));
  while (!replies_[id]) co_await read_turn();
  Json reply = *std::move(replies_[id]);
  co_return reply;
}

Task<> Client::send(std::string line) {
  while (writing_) co_await changed_.wait();
  if (failure_) throw_lost();
  const Turn turn(writing_, changed_);
  Whole whole{failure_};
  Task<> written = stream_->write_all(std::as_bytes(std::span(line)));
  co_await std::move(written);
  whole.sent = true;
}

// Reads once for everybody, or waits until whoever does has.
Task<> Client::read_turn() {
  if (failure_) throw_lost();
  if (reading_) {
    co_await changed_.wait();
    co_return;
  }
  const Turn turn(reading_, changed_);
  co_await read_once();
}

Task<> Client::read_once() {
  std::array<std::byte, 16384> chunk;
  Task<std::size_t> reading = stream_->read_some(chunk);
  Result<std::size_t> got = co_await settle(std::move(reading));
  if (!got && got.error().id == ErrorId::cancelled) throw std::move(got).error();
  ended_ = !got || *got == 0;
  if (!got) failure_ = std::move(got).error();
  if (got && *got == 0) {
    const std::string why = stream_->explain_end();
    failure_ = Error(ErrorId::connect_lost, why.empty() ? "QEMU closed its monitor" : why);
  }
  if (failure_) throw_lost();
  const Result<> fed = lines_.feed(std::span(chunk).first(*got));
  if (!fed) failure_ = fed.error();
  while (auto line = lines_.next()) take(*line);
}

Task<> Client::drain() {
  std::array<std::byte, 16384> chunk;
  while (!ended_) {
    Task<std::size_t> reading = stream_->read_some(chunk);
    const Result<std::size_t> got = co_await settle(std::move(reading));
    if (!got && got.error().id == ErrorId::cancelled) throw Error(got.error());
    ended_ = !got || *got == 0;
    if (ended_) break;
    const Result<> fed = lines_.feed(std::span(chunk).first(*got));
    if (!fed) throw Error(fed.error());
    while (auto line = lines_.next()) take(*line);
  }
  if (!failure_) failure_ = Error(ErrorId::connect_lost, "QEMU closed its monitor");
}

void Client::take(std::string_view line) {
  Result<Json> message = parse_json(line);
  if (!message) {
    failure_ = message.error();
  } else if (message->contains("QMP")) {
    greeting_ = *std::move(message);
  } else if (message->contains("event")) {
    take_event(*message);
  } else {
    const std::int64_t id = number_at(*message, "id", -1);
    const auto waiting = id < 0 ? replies_.end() : replies_.find(static_cast<std::uint64_t>(id));
    if (waiting != replies_.end()) waiting->second = *std::move(message);
    if (!greeting_) greeting_ = Json::object();  // talks, but not QMP
  }
}

void Client::take_event(const Json& message) {
  const Json& stamp = at(message, "timestamp");
  const Micros time =
      std::chrono::seconds(number_at(stamp, "seconds")) + Micros(number_at(stamp, "microseconds"));
  events_.push_back({text_at(message, "event"), at(message, "data"), time});
  if (events_.size() > kEventsKept) {
    events_.pop_front();
    ++first_event_;
  }
}

Task<Event> Client::next_event(Cursor& from) {
  while (from.next >= first_event_ + events_.size()) co_await read_turn();
  if (from.next < first_event_)
    throw Error(ErrorId::protocol, "QEMU sent more events than could be kept");
  co_return events_[from.next++ - first_event_];
}

Task<Event> Client::wait_event(Cursor& from, std::function<bool(const Event&)> wanted) {
  while (true) {
    Event event = co_await next_event(from);
    if (wanted(event)) co_return event;
  }
}

std::uint64_t Client::version_number() const {
  const Json& qemu = at(version_, "qemu");
  return static_cast<std::uint64_t>(number_at(qemu, "major") * 1000000 +
                                    number_at(qemu, "minor") * 1000 + number_at(qemu, "micro"));
}

std::string Client::version_text() const {
  const Json& qemu = at(version_, "qemu");
  return fmt::format("{}.{}.{}", number_at(qemu, "major"), number_at(qemu, "minor"),
                     number_at(qemu, "micro"));
}

void Client::close() noexcept { stream_->close(); }

void Client::throw_lost() const {
  if (failure_->id == ErrorId::protocol) throw *failure_;
  throw Error(ErrorId::connect_lost, failure_->message);
}

}  // namespace vmferry::qmp
