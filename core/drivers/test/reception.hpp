#pragma once
// The destination's end of a migration stream that comes from another process, or through a
// tunnel. One-way: nothing is ever sent back.
#include <memory>
#include <optional>

#include "core/async/signal.hpp"
#include "core/drivers/test/network.hpp"
#include "core/drivers/test/world.hpp"

namespace vmferry::sim {

/// What a connection for migration data begins with, before the first frame.
Bytes data_greeting(const MigrationId& id);

class Reception : public std::enable_shared_from_this<Reception> {
 public:
  Reception(std::shared_ptr<World> world, std::weak_ptr<Guest> guest,
            std::weak_ptr<Incoming> incoming, const Executor& ex);

  /// Takes the one connection that greets with that id; others are closed.
  void accept_on(std::unique_ptr<DataListener> listener, const MigrationId& id);
  /// The tunnel's end: what is written there arrives.
  std::unique_ptr<Stream> tunnel();

  /// Waits until the guest is loaded, or told to run while the rest comes, or cannot be loaded; at
  /// most 30 s.
  Task<> arrived();
  /// Waits for whatever comes next, at most 50 ms.
  Task<> next();
  void close() noexcept;

  void feed(std::span<const std::byte> bytes);  ///< Errors: remote; then nothing more is taken
  void end();                                   ///< nothing more comes. Errors: remote, too early
  void fail(const std::string& why);

 private:
  static Task<> accept_all(std::shared_ptr<Reception> self);
  static Task<> greet(std::shared_ptr<Reception> self, std::unique_ptr<Stream> stream);
  static Task<> receive(std::shared_ptr<Reception> self);
  static Task<> until_arrived(std::shared_ptr<Reception> self);
  static Task<> until_changed(std::shared_ptr<Reception> self);

  std::weak_ptr<World> world_;
  Clock& clock_;
  std::weak_ptr<Guest> guest_;
  std::weak_ptr<Incoming> incoming_;
  Executor ex_;
  Signal changed_;
  MigrationId id_{};
  std::unique_ptr<DataListener> listener_;
  std::unique_ptr<Stream> stream_;
  Bytes partial_;  // the beginning of a frame
  int greeters_ = 0;
  bool closed_ = false;
};

/// Post-copy's second half where the source pushes: waits until everything is here, while the CPUs
/// run. Errors: remote; the guest is then on both hosts, and on none.
Task<> await_postcopy(World& world, std::shared_ptr<Guest> guest);

}  // namespace vmferry::sim
