#include "tests/simulation/connection.hpp"

#include <fmt/format.h>

namespace vmferry::sim {

namespace {

constexpr std::uint32_t kDamaged = 20;  // a page that the guest does not write to

template <class T>
struct Answer {
  std::optional<Result<T>> result;
  Micros carried_out{};
};

// What happens on the daemon's side. `make` holds its own copies of the arguments.
template <class T, class Make>
Task<> carry_out(Net* network, std::shared_ptr<Connection> link, std::shared_ptr<Answer<T>> answer,
                 Make make) {
  co_await network->clock().sleep(network->delay() + network->slowness(link->host));
  if (link->lost && !link->late) co_return;
  answer->carried_out = network->clock().now();
  Task<T> work = make(*link->daemon);
  auto result = co_await settle(std::move(work));
  network->look();
  co_await network->clock().sleep(network->delay());
  answer->result = std::move(result);
  link->changed.notify();
}

Task<bool> as_bool(Task<> body) {
  co_await std::move(body);
  co_return true;
}

Error gone(bool sent) {
  Error error(ErrorId::connect_lost, "the simulated connection broke");
  error.reply_lost = sent;
  return error;
}

// What a destination does that has one of the known faults.
Task<Finished> finish_at(Net& network, std::string host, Host& daemon, PhaseCall call,
                         Cookie cookie, Verdict verdict) {
  if (network.wrong == Wrong::half_made && verdict == Verdict::cancelled) co_return Finished{};
  const auto guest = network.guest(host);
  const std::string port = guest && guest->in ? guest->in->uri : std::string();
  if (network.wrong == Wrong::bad_memory && guest && guest->in && guest->in->loaded)
    guest->memory.flip_bit(kDamaged);
  Task<Finished> finishing = daemon.finish(call, cookie, verdict);
  Finished done = co_await std::move(finishing);
  if (network.wrong == Wrong::open_port && !port.empty())
    network.world().listen_at(*network.world().host(host), guest, port);
  co_return done;
}

// A tunnel breaks with its connection.
class LinkedStream final : public Stream {
 public:
  LinkedStream(std::unique_ptr<Stream> inner, std::shared_ptr<Connection> link)
      : inner_(std::move(inner)), link_(std::move(link)) {}
  Task<std::size_t> read_some(std::span<std::byte> into) override {
    check();
    return inner_->read_some(into);
  }
  Task<> write_all(std::span<const std::byte> from) override {
    check();
    return inner_->write_all(from);
  }
  Task<> finish_writing() override {
    check();
    return inner_->finish_writing();
  }
  void close() noexcept override { inner_->close(); }

 private:
  void check() const {
    if (link_->lost) throw gone(true);
  }
  std::unique_ptr<Stream> inner_;
  std::shared_ptr<Connection> link_;
};

}  // namespace

ClientHost::~ClientHost() {
  if (std::exchange(link_->lost, true)) return;
  network_.spawn(notice_later(network_, link_, network_.latency));
}

Task<> notice_later(Net& network, std::shared_ptr<Connection> link, Micros after) {
  co_await network.clock().sleep(after);
  const bool half_made = network.wrong == Wrong::half_made && link->host == "b";
  if (network.wrong == Wrong::unnoticed || half_made)
    network.keep(link);
  else
    link->daemon->hang_up();
  network.look();
}

template <class T, class Make>
Task<T> ClientHost::ask(std::string_view what, Make make) {
  const auto link = link_;
  Net& network = network_;
  if (link->lost || !network.lives(link->owner)) throw gone(false);
  network.step(what, " to ", *link);
  if (link->lost || !network.lives(link->owner)) throw gone(false);
  const auto answer = std::make_shared<Answer<T>>();
  network.spawn(carry_out<T, Make>(&network, link, answer, std::move(make)));
  while (!answer->result && !link->lost) co_await link->changed.wait();
  if (!link->lost && network.lives(link->owner)) network.step(what, ", answered by ", *link);
  // A daemon that is killed takes its answers with it.
  if (link->daemon->lost()) link->lost = true;
  if (link->lost || !network.lives(link->owner)) throw gone(true);
  network.served(link->host, what, answer->carried_out);
  co_return value_or_throw(std::move(*answer->result));
}

template <class Make>
Task<> ClientHost::tell(std::string_view what, Make make) {
  auto wrapped = [make = std::move(make)](Host& host) mutable { return as_bool(make(host)); };
  Task<bool> told = ask<bool>(what, std::move(wrapped));
  co_await std::move(told);
}

// Arguments are copied into the closure: the call may outlive its caller.
Task<HostFeatures> ClientHost::features() {
  return ask<HostFeatures>("features", [](Host& h) { return h.features(); });
}
Task<HostIdentity> ClientHost::identity() {
  return ask<HostIdentity>("identity", [](Host& h) { return h.identity(); });
}
Task<std::string> ClientHost::capabilities() {
  return ask<std::string>("capabilities", [](Host& h) { return h.capabilities(); });
}
Task<std::string> ClientHost::domain_capabilities(std::string e, std::string a, std::string m,
                                                  std::string v) {
  return ask<std::string>("domain_capabilities",
                          [=](Host& h) { return h.domain_capabilities(e, a, m, v); });
}
Task<NodeInfo> ClientHost::node_info() {
  return ask<NodeInfo>("node_info", [](Host& h) { return h.node_info(); });
}
Task<std::uint64_t> ClientHost::free_memory() {
  return ask<std::uint64_t>("free_memory", [](Host& h) { return h.free_memory(); });
}
Task<> ClientHost::close() {
  return tell("close", [](Host& h) { return h.close(); });
}
Task<DomainRef> ClientHost::find(std::string text) {
  return ask<DomainRef>("find", [text](Host& h) { return h.find(text); });
}
Task<std::vector<ListedDomain>> ClientHost::list(bool active, bool inactive) {
  return ask<std::vector<ListedDomain>>("list", [=](Host& h) { return h.list(active, inactive); });
}
Task<DomainStatus> ClientHost::status(const DomainRef& d) {
  return ask<DomainStatus>("status", [d](Host& h) { return h.status(d); });
}
Task<DomainInfo> ClientHost::info(const DomainRef& d) {
  return ask<DomainInfo>("info", [d](Host& h) { return h.info(d); });
}
Task<bool> ClientHost::is_persistent(const DomainRef& d) {
  return ask<bool>("is_persistent", [d](Host& h) { return h.is_persistent(d); });
}
Task<bool> ClientHost::autostart(const DomainRef& d) {
  return ask<bool>("autostart", [d](Host& h) { return h.autostart(d); });
}
Task<std::string> ClientHost::dump_xml(const DomainRef& d, std::uint32_t flags) {
  return ask<std::string>("dump_xml", [d, flags](Host& h) { return h.dump_xml(d, flags); });
}
Task<DomainRef> ClientHost::define(std::string xml, DefineFlags flags) {
  return ask<DomainRef>("define", [xml, flags](Host& h) { return h.define(xml, flags); });
}
Task<> ClientHost::undefine(const DomainRef& d, std::uint32_t flags) {
  return tell("undefine", [d, flags](Host& h) { return h.undefine(d, flags); });
}
Task<> ClientHost::start(const DomainRef& d, std::uint32_t flags) {
  return tell("start", [d, flags](Host& h) { return h.start(d, flags); });
}
Task<> ClientHost::suspend(const DomainRef& d) {
  return tell("suspend", [d](Host& h) { return h.suspend(d); });
}
Task<> ClientHost::resume(const DomainRef& d) {
  return tell("resume", [d](Host& h) { return h.resume(d); });
}
Task<> ClientHost::shutdown(const DomainRef& d) {
  return tell("shutdown", [d](Host& h) { return h.shutdown(d); });
}
Task<> ClientHost::destroy(const DomainRef& d, std::uint32_t flags) {
  return tell("destroy", [d, flags](Host& h) { return h.destroy(d, flags); });
}
Task<JobStats> ClientHost::job_stats(const DomainRef& d, bool completed, bool keep) {
  return ask<JobStats>("job_stats", [=](Host& h) { return h.job_stats(d, completed, keep); });
}
Task<> ClientHost::abort_job(const DomainRef& d, bool postcopy) {
  return tell("abort_job", [d, postcopy](Host& h) { return h.abort_job(d, postcopy); });
}
Task<> ClientHost::set_max_downtime(const DomainRef& d, std::uint64_t v) {
  return tell("set_max_downtime", [d, v](Host& h) { return h.set_max_downtime(d, v); });
}
Task<std::uint64_t> ClientHost::max_downtime(const DomainRef& d) {
  return ask<std::uint64_t>("max_downtime", [d](Host& h) { return h.max_downtime(d); });
}
Task<> ClientHost::set_max_speed(const DomainRef& d, std::uint64_t v, bool p) {
  return tell("set_max_speed", [d, v, p](Host& h) { return h.set_max_speed(d, v, p); });
}
Task<std::uint64_t> ClientHost::max_speed(const DomainRef& d, bool p) {
  return ask<std::uint64_t>("max_speed", [d, p](Host& h) { return h.max_speed(d, p); });
}
Task<> ClientHost::set_compression_cache(const DomainRef& d, std::uint64_t v) {
  return tell("set_compression_cache", [d, v](Host& h) { return h.set_compression_cache(d, v); });
}
Task<std::uint64_t> ClientHost::compression_cache(const DomainRef& d) {
  return ask<std::uint64_t>("compression_cache", [d](Host& h) { return h.compression_cache(d); });
}
Task<> ClientHost::start_postcopy(const DomainRef& d) {
  return tell("start_postcopy", [d](Host& h) { return h.start_postcopy(d); });
}
Task<std::unique_ptr<Subscription>> ClientHost::subscribe(const DomainRef& d, OnEvent on) {
  std::weak_ptr<Connection> link = link_;
  OnEvent guarded = [link, on = std::move(on)](const DomainEvent& event) {
    const auto open = link.lock();
    if (open && !open->lost) on(event);
  };
  return ask<std::unique_ptr<Subscription>>(
      "subscribe", [d, guarded](Host& h) { return h.subscribe(d, guarded); });
}
Task<Begun> ClientHost::begin(const PhaseCall& c) {
  return ask<Begun>("begin", [c](Host& h) { return h.begin(c); });
}
Task<Prepared> ClientHost::prepare(const PhaseCall& c, const Cookie& k) {
  return ask<Prepared>("prepare", [c, k](Host& h) { return h.prepare(c, k); });
}
Task<Tunnel> ClientHost::prepare_tunnel(const PhaseCall& c, const Cookie& cookie) {
  Task<Tunnel> asked =
      ask<Tunnel>("prepare_tunnel", [c, cookie](Host& h) { return h.prepare_tunnel(c, cookie); });
  Tunnel tunnel = co_await std::move(asked);
  tunnel.data = std::make_unique<LinkedStream>(std::move(tunnel.data), link_);
  co_return tunnel;
}
Task<Cookie> ClientHost::perform(const PhaseCall& c, const Cookie& k,
                                 std::optional<std::string> uri) {
  return ask<Cookie>("perform", [c, k, uri](Host& h) { return h.perform(c, k, uri); });
}
Task<Finished> ClientHost::finish(const PhaseCall& c, const Cookie& k, Verdict v) {
  if (network_.wrong == Wrong::none)
    return ask<Finished>("finish", [c, k, v](Host& h) { return h.finish(c, k, v); });
  Net* const network = &network_;
  return ask<Finished>("finish", [c, k, v, network, host = link_->host](Host& h) {
    return finish_at(*network, host, h, c, k, v);
  });
}
Task<> ClientHost::confirm(const PhaseCall& c, const Cookie& k, Verdict v) {
  return tell("confirm", [c, k, v](Host& h) { return h.confirm(c, k, v); });
}
Task<std::optional<bool>> ClientHost::ever_started(const DomainRef& d, const Cookie& k) {
  return ask<std::optional<bool>>("ever_started", [d, k](Host& h) { return h.ever_started(d, k); });
}

}  // namespace vmferry::sim
