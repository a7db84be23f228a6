#pragma once
// What every Host promises, asked of two hosts through nothing but the interface: simulated ones in
// memory, behind our client and server, behind a unix socket, and real daemons (real.cpp).
#include <functional>
#include <memory>

#include "core/async/clock.hpp"
#include "core/host/host.hpp"

namespace vmferry::contract {

/// Two hosts, and a guest that runs on the first, with a definition there.
struct Ends {
  Host* a = nullptr;
  Host* b = nullptr;
  DomainRef vm;
  /// Drives the event loop until it is done; what it threw is thrown.
  std::function<void(Task<>)> run;
  Clock* clock = nullptr;
  void pass(Micros time) const { run(clock->sleep(time)); }
  FlagSet live;  ///< the flags of a live migration that the hosts take
  /// Errors carry libvirt's codes; those of a real host in this process get them on the wire only.
  bool coded = true;

  template <class T>
  Result<T> settled(Task<T> task) const {
    std::optional<Result<T>> result;
    run(keep(std::move(task), result));
    return std::move(*result);
  }
  template <class T>
  T get(Task<T> task) const {
    return value_or_throw(settled(std::move(task)));
  }

 private:
  template <class T>
  static Task<> keep(Task<T> task, std::optional<Result<T>>& into) {
    into = co_await settle(std::move(task));
  }
};

void check_lookup(const Ends& ends);
void check_identity(const Ends& ends);
void check_life_cycle(const Ends& ends);
void check_definitions(const Ends& ends, const std::string& xml);  ///< of a domain named "fresh"
void check_events(const Ends& ends);
void check_refusals(const Ends& ends);
void check_rubbish(const Ends& ends);  ///< cookies that nobody wrote
/// There and back again; the guest is where it was afterwards.
void check_migration(const Ends& ends);
void check_cancelled_finish(const Ends& ends);
void check_abort(const Ends& ends);

}  // namespace vmferry::contract
