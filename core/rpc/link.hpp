#pragma once
// What the parts of an rpc::Client share: the loops, the calls, the streams. Not for others.
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "core/async/signal.hpp"
#include "core/rpc/client.hpp"

namespace vmferry::rpc {

// A stream of ours that goes to the server (libvirt's virStream, as tunnelled migration uses it).
struct Client::Upload {
  explicit Upload(const Executor& ex) : changed(ex) {}
  Signal changed;
  Header call;  // the one that opened it: its packets repeat procedure and serial
  bool confirmed = false;
  std::optional<Error> failure;
};

struct Client::Pending {
  explicit Pending(const Executor& ex) : changed(ex) {}
  Signal changed;
  std::optional<Packet> reply;
  bool written = false;  // the request may have reached the peer
};

// What the loops and the calls share. It outlives the Client while a loop is still winding up.
struct Client::Link {
  Link(std::unique_ptr<Stream> s, Clock& c, const Executor& ex, ClientOptions o)
      : stream(std::move(s)), clock(c), options(o), outbox_changed(ex), place_free(ex), died(ex) {}

  struct Outgoing {
    Bytes bytes;
    std::uint32_t serial;  // 0: nobody waits for an answer
  };

  std::unique_ptr<Stream> stream;
  Clock& clock;
  ClientOptions options;
  // By serial; null: nobody waits any more, but the peer still works on it, so it keeps its place.
  std::map<std::uint32_t, Pending*> pending;
  int long_calls = 0;  // calls without a deadline under way
  std::deque<Outgoing> outbox;
  std::size_t outbox_bytes = 0;
  std::map<std::uint32_t, std::shared_ptr<Upload>> uploads;  // by the serial that opened them
  Signal outbox_changed;
  Signal place_free;
  Signal died;
  std::uint32_t serial = 0;
  std::optional<Error> dead;
  Micros heard{};  // when anything last came in
  OnEvent on_event;
  bool pinging = false;

  void send(const Header& header, std::span<const std::byte> payload) {
    // Only a call is waited for by its serial; a stream's packets have the one of a call that is
    // answered.
    const std::uint32_t serial_of_call = header.type == Type::call ? header.serial : 0;
    outbox.push_back({value_or_throw(pack(header, payload)), serial_of_call});
    outbox_bytes += outbox.back().bytes.size();
    outbox_changed.notify();
  }

  void die(Error why) {
    if (dead) return;
    // What a transport says of a connection that never came about stands as it is.
    const bool never_was = why.exit() == Exit::connect;
    if (!never_was && why.id != ErrorId::protocol && why.id != ErrorId::connect_lost)
      why = Error(ErrorId::connect_lost, why.message);
    dead = std::move(why);
    stream->close();
    for (auto& [number, call] : pending)
      if (call) call->changed.notify();
    for (auto& [number, upload] : uploads) upload->changed.notify();
    outbox_changed.notify();
    place_free.notify();
    died.notify();
  }

  // One place stays free for an abort as long as a call is under way that may need one.
  bool has_place(const CallOptions& call) const {
    const bool keep_one = !call.urgent && (long_calls > 0 || call.deadline == Micros(0));
    return pending.size() < kCallsInFlight - (keep_one ? 1 : 0);
  }

  // Nobody waits for that answer any more.
  void abandon(std::uint32_t number) {
    pending[number] = nullptr;
    const auto unanswered = std::ranges::count_if(pending, [](const auto& p) { return !p.second; });
    if (unanswered >= kCallsInFlight - 1)
      die(Error(ErrorId::connect_lost, "the host leaves one call after the other unanswered"));
  }

  // What the server says of a stream: confirmed, failed, or (not our kind) data.
  void route_stream(const Packet& packet) {
    const auto it = uploads.find(packet.header.serial);
    if (it == uploads.end()) return;  // closed already: late packets mean nothing
    if (packet.header.status == Status::ok) it->second->confirmed = true;
    if (packet.header.status == Status::error) it->second->failure = to_error(packet.payload);
    it->second->changed.notify();
  }

  // Keepalive is a program of its own; late replies have no one here.
  void route(Packet packet) {
    const Header& h = packet.header;
    if (h.program == proto::kKeepaliveProgram) {
      if (h.procedure == proto::kPing) send(keepalive(proto::kPong), {});
      return;
    }
    if (h.type == Type::message && on_event) on_event(h.procedure, packet.payload);
    if (h.type == Type::stream && h.program == proto::kRemoteProgram) route_stream(packet);
    if (h.type != Type::reply) return;
    const auto it = pending.find(h.serial);
    if (it == pending.end()) return;
    if (it->second) {
      it->second->reply = std::move(packet);
      it->second->changed.notify();
    } else {
      pending.erase(it);
      place_free.notify();
    }
  }

  static Header keepalive(std::int32_t procedure) {
    Header h;
    h.program = proto::kKeepaliveProgram;
    h.procedure = procedure;
    h.type = Type::message;
    return h;
  }
};

}  // namespace vmferry::rpc
