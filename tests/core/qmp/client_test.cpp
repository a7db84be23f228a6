#include "core/qmp/client.hpp"

#include <doctest/doctest.h>

#include <asio/io_context.hpp>

#include "core/async/race.hpp"
#include "tests/support/run.hpp"

using namespace vmferry;
using qmp::Json;

namespace {

constexpr std::string_view kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"},)"
    R"( "capabilities": ["oob"]}})"
    "\r\n";

Task<> say(Stream& s, std::string text) { co_await s.write_all(std::as_bytes(std::span(text))); }

// Reads one command line and checks the command; returns its id.
Task<std::uint64_t> hear(Stream& s, std::string command) {
  std::string line;
  while (line.empty() || line.back() != '\n') {
    std::array<std::byte, 1> one{};
    co_await read_exactly(s, one);
    line.push_back(static_cast<char>(one[0]));
  }
  const Json message = Json::parse(line);
  const char* verb = message.contains("execute") ? "execute" : "exec-oob";
  CHECK(message.at(verb) == command);
  co_return message.at("id").get<std::uint64_t>();
}

std::string answer(std::uint64_t id, const std::string& body) {
  return "{\"id\": " + std::to_string(id) + ", " + body + "}\r\n";
}

Task<bool> serve_greeting(Stream& s) {
  co_await say(s, std::string(kGreeting));
  const std::uint64_t id = co_await hear(s, "qmp_capabilities");
  co_await say(s, answer(id, "\"return\": {}"));
  co_return true;
}

struct Talk {
  asio::io_context io;
  SystemClock clock;
  PipeEnds ends;
  std::unique_ptr<qmp::Client> client;
  explicit Talk(std::size_t chunk = SIZE_MAX) : ends(make_pipe(io.get_executor(), chunk)) {
    auto opened =
        run(io, both(qmp::Client::open(std::move(ends.a), clock), serve_greeting(*ends.b)));
    client = std::move(opened.first);
  }
};

Task<bool> answer_out_of_order(Stream& s) {
  const std::uint64_t first = co_await hear(s, "one");
  const std::uint64_t second = co_await hear(s, "two");
  co_await say(s, R"({"event": "STOP", "timestamp": {"seconds": 5, "microseconds": 7}})"
                  "\n" +
                      answer(second, "\"return\": 2") + answer(first, "\"return\": 1"));
  co_return true;
}
Task<bool> refuse(Stream& s) {
  const std::uint64_t id = co_await hear(s, "cont");
  co_await say(s, answer(id, R"("error": {"class": "GenericError", "desc": "not now"})"));
  co_return true;
}
Task<bool> hang_up(Stream& s) {
  co_await hear(s, "quit");
  s.close();
  co_return true;
}
Task<bool> answer_oob(Stream& s) {
  const std::uint64_t id = co_await hear(s, "yank");
  co_await say(s, answer(id, "\"return\": {}"));
  co_return true;
}
Task<std::pair<Json, Json>> two(qmp::Client& c) {
  Task<Json> one = c.execute("one");
  Task<Json> other = c.execute("two");
  co_return co_await both(std::move(one), std::move(other));
}

}  // namespace

TEST_CASE("qmp client: greeting, versions, replies by id, events kept for later, any chunking") {
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
    Talk t(chunk);
    CHECK(t.client->version_number() == 7002022);
    CHECK(t.client->version_text() == "7.2.22");
    qmp::Cursor cursor = t.client->cursor();
    const auto [got, served] = run(t.io, both(two(*t.client), answer_out_of_order(*t.ends.b)));
    CHECK(got.first == 1);
    CHECK(got.second == 2);
    const qmp::Event event = run(t.io, t.client->next_event(cursor));
    CHECK(event.name == "STOP");
    CHECK(event.time == Micros(5000007));
    CHECK(cursor.next == t.client->cursor().next);
  }
}

TEST_CASE("qmp client: QEMU's refusal is an error with its words; the connection goes on") {
  Talk t;
  const auto [got, served] = run(t.io, both(settle(t.client->execute("cont")), refuse(*t.ends.b)));
  REQUIRE_FALSE(got);
  CHECK(got.error().id == ErrorId::remote);
  CHECK(got.error().message.find("not now") != std::string::npos);
  CHECK_FALSE(t.client->lost());
}

TEST_CASE("qmp client: the end of the monitor fails the call under way and every later one") {
  Talk t;
  const auto [got, served] = run(t.io, both(settle(t.client->execute("quit")), hang_up(*t.ends.b)));
  REQUIRE_FALSE(got);
  CHECK(got.error().id == ErrorId::connect_lost);
  const auto later = run(t.io, settle(t.client->execute("cont")));
  REQUIRE_FALSE(later);
  CHECK(later.error().id == ErrorId::connect_lost);
}

TEST_CASE("qmp client: a silent QEMU times out, and out-of-band commands still pass") {
  Talk t;
  const auto silent =
      run(t.io, settle(t.client->execute("migrate-continue", Json::object(), Millis(5))));
  REQUIRE_FALSE(silent);
  CHECK(silent.error().id == ErrorId::timed_out);
  CHECK_FALSE(t.client->lost());
  run(t.io, hear(*t.ends.b, "migrate-continue"));
  Json nobody = {{"instances", Json::array()}};
  Task<Json> yanking = t.client->execute_oob("yank", std::move(nobody), Millis(2000));
  Task<bool> answering = with_deadline(t.clock, Millis(2000), "the command", answer_oob(*t.ends.b));
  const auto [got, served] =
      run(t.io, both(settle(std::move(yanking)), settle(std::move(answering))));
  CHECK(served);
  if (!got) FAIL(got.error().message);
  CHECK(got);
}

TEST_CASE("qmp client: nobody greets, or something else answers") {
  asio::io_context io;
  SystemClock clock;
  PipeEnds quiet = make_pipe(io.get_executor());
  const auto none = run(io, settle(qmp::Client::open(std::move(quiet.a), clock, Millis(5))));
  REQUIRE_FALSE(none);
  CHECK(none.error().id == ErrorId::timed_out);

  PipeEnds other = make_pipe(io.get_executor());
  run(io, say(*other.b, "{\"hello\": 1}\n"));
  const auto wrong = run(io, settle(qmp::Client::open(std::move(other.a), clock)));
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().id == ErrorId::connect_protocol);
}

TEST_CASE("qmp client: endless lines, deep nesting and text that is no JSON are protocol errors") {
  for (const std::string& bad :
       {std::string((10 << 20) + 4096, 'x'), std::string(100, '[') + std::string(100, ']') + "\n",
        std::string("HELLO\n")}) {
    asio::io_context io;
    SystemClock clock;
    PipeEnds ends = make_pipe(io.get_executor());
    const auto [opened, said] = run(
        io, both(settle(qmp::Client::open(std::move(ends.a), clock)), settle(say(*ends.b, bad))));
    REQUIRE_FALSE(opened);
    CHECK(opened.error().id == ErrorId::protocol);
  }
}

TEST_CASE("qmp client: more events than are kept are told, not skipped") {
  Talk t;
  qmp::Cursor cursor = t.client->cursor();
  std::string many;
  for (std::size_t i = 0; i < qmp::Client::kEventsKept + 1; ++i) many += "{\"event\": \"X\"}\n";
  run(t.io, say(*t.ends.b, many));
  qmp::Cursor late{qmp::Client::kEventsKept};
  run(t.io, t.client->next_event(late));
  const auto behind = run(t.io, settle(t.client->next_event(cursor)));
  REQUIRE_FALSE(behind);
  CHECK(behind.error().id == ErrorId::protocol);
}

TEST_CASE("qmp lines: empty lines are skipped, the last incomplete one is kept") {
  qmp::Lines lines(16);
  const std::string text = "\r\n{1}\r\n\n{2}\n{3";
  REQUIRE(lines.feed(std::as_bytes(std::span(text))));
  CHECK(lines.next() == "{1}");
  CHECK(lines.next() == "{2}");
  CHECK_FALSE(lines.next());
  const std::string rest = "}\n";
  REQUIRE(lines.feed(std::as_bytes(std::span(rest))));
  CHECK(lines.next() == "{3}");
  CHECK_FALSE(lines.feed(std::as_bytes(std::span(std::string_view("yyyyyyyyyyyyyyyyy")))));
}
