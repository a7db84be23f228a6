#pragma once
// A client of QEMU's monitor protocol (QMP, docs/interop/qmp-spec.rst) over any Stream.
//
// Several coroutines may use one client at the same time: whoever waits for a reply or an event
// reads for all. Nothing runs in the background, so events are only seen while somebody waits.
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/async/clock.hpp"
#include "core/async/signal.hpp"
#include "core/async/stream.hpp"
#include "core/qmp/json.hpp"
#include "core/qmp/line.hpp"

namespace vmferry::qmp {

/// Something QEMU told without being asked. `time`: QEMU's wall clock (of its host).
struct Event {
  std::string name;
  Json data;
  Micros time{};
};

/// A place in the sequence of events; see Client::cursor.
struct Cursor {
  std::uint64_t next = 0;
};

class Client {
 public:
  static constexpr Micros kAnswer = std::chrono::seconds(30);
  static constexpr std::size_t kEventsKept = 4096;

  /// Waits for the greeting and negotiates (out-of-band execution where QEMU offers it). A monitor
  /// serves one client at a time: no greeting within `limit` is ErrorId::timed_out. `clock` must
  /// outlive the client.
  static Task<std::unique_ptr<Client>> open(std::unique_ptr<Stream> stream, Clock& clock,
                                            Micros limit = std::chrono::seconds(10));
  Client(std::unique_ptr<Stream> stream, Clock& clock, const Executor& ex);

  /// Runs one command and returns its "return". Errors: remote with QEMU's own words; connect_lost;
  /// timed_out after `limit` (a late reply is dropped).
  Task<Json> execute(std::string command, Json arguments = Json::object(), Micros limit = kAnswer);
  /// The same past QEMU's command queue, for commands that allow it (yank). Errors: also
  /// unsupported when QEMU did not offer it.
  Task<Json> execute_oob(std::string command, Json arguments, Micros limit = kAnswer);

  /// The place after the last event seen so far: take it before the command that causes events.
  Cursor cursor() const { return {first_event_ + events_.size()}; }
  /// The next event at or after the cursor, which moves past it. No deadline: race it.
  /// Errors: connect_lost when the monitor closes; protocol when the cursor fell too far behind.
  Task<Event> next_event(Cursor& from);
  /// The next event that `wanted` accepts; others are skipped.
  Task<Event> wait_event(Cursor& from, std::function<bool(const Event&)> wanted);

  const Json& version() const { return version_; }  ///< greeting: "qemu", "package"
  /// major*1000000 + minor*1000 + micro, as libvirt writes versions.
  std::uint64_t version_number() const;
  std::string version_text() const;
  bool lost() const { return failure_.has_value(); }
  /// Reads what QEMU still wrote before it closed the monitor, also after a failed write: then no
  /// event is missing. Errors: protocol. No deadline of its own.
  Task<> drain();
  void close() noexcept;

 private:
  Task<> greet();
  Task<Json> call(const char* verb, std::string command, Json arguments, Micros limit);
  Task<Json> exchange(std::uint64_t id, std::string line);
  Task<> send(std::string line);
  Task<> read_once();
  Task<> read_turn();
  void take(std::string_view line);
  void take_event(const Json& message);
  [[noreturn]] void throw_lost() const;

  std::unique_ptr<Stream> stream_;
  Clock* clock_;
  Signal changed_;
  Lines lines_;
  bool reading_ = false, writing_ = false, oob_ = false, ended_ = false;
  std::optional<Error> failure_;
  std::optional<Json> greeting_;
  Json version_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::optional<Json>> replies_;  // by id: asked for, maybe here
  std::deque<Event> events_;
  std::uint64_t first_event_ = 0;  // number of events_.front()
};

}  // namespace vmferry::qmp
