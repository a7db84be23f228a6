#pragma once
// A guest of a real QEMU under software emulation (a BIOS that finds nothing to boot), and what may
// come between it and the driver.
#include <unistd.h>

#include <asio/io_context.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/drivers/qmp/qmp_host.hpp"
#include "tests/support/run.hpp"
#include "transports/unix.hpp"

namespace vmferry::qmp {

inline bool qemu_is_here() { return ::access("/usr/bin/qemu-system-x86_64", X_OK) == 0; }

/// Sleeps `factor` times as long; only what is at least `from`.
class BentClock final : public Clock {
 public:
  double factor = 1;
  Micros from{};
  Micros now() const override { return real_.now(); }
  Task<> sleep(Micros duration) override {
    const auto bent = Micros(static_cast<std::int64_t>(static_cast<double>(duration.count()) *
                                                       (duration >= from ? factor : 1)));
    return real_.sleep(bent);
  }

 private:
  SystemClock real_;
};

struct Bare {
  asio::io_context io;
  BentClock clock;
  std::string dir;
  /// Comes between the driver and each monitor that is connected to from then on.
  std::function<std::unique_ptr<Stream>(std::unique_ptr<Stream>)> between = nullptr;
  std::unique_ptr<Host> host;
  DomainRef domain;

  explicit Bare(const std::string& more = "") {
    std::string name = (std::filesystem::temp_directory_path() / "vmf-XXXXXX").string();
    dir = ::mkdtemp(name.data());
    host = open("a");
    const std::string xml = value_or_throw(qmp_domain_xml(
        "/usr/bin/qemu-system-x86_64 -M pc -accel tcg -m 16M -nodefaults -no-user-config "
        "-display none -name g " +
            more,
        ""));
    domain = run(io, host->define(xml, DefineFlags::none));
    run(io, host->start(domain, 0));
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    clock.factor = 1;
    between = nullptr;
    host.reset();
    for (const char* one : {"a", "b"}) {
      const std::unique_ptr<Host> last = open(one);
      for (const Instance& i : as_qmp(*last).store().instances()) run(io, as_qmp(*last).end(i));
    }
    remove_all(dir);
  }
  /// One of its "hosts", "a" or "b".
  std::unique_ptr<Host> open(const std::string& name) {
    QmpEnvironment environment{.clock = clock,
                               .dial = [this](std::string path) { return dial(std::move(path)); }};
    return run(io, open_qmp("qmp:///session?dir=" + dir + "/" + name, environment));
  }
  Task<std::unique_ptr<Stream>> dial(std::string path) {
    std::unique_ptr<Stream> stream = co_await connect_unix(clock, std::move(path));
    if (between) stream = between(std::move(stream));
    co_return stream;
  }
  QmpHost& own() { return as_qmp(*host); }
};

/// Passes everything on; derived classes look into it.
class Between : public Stream {
 public:
  explicit Between(std::unique_ptr<Stream> under) : under_(std::move(under)) {}
  Task<std::size_t> read_some(std::span<std::byte> into) override {
    return under_->read_some(into);
  }
  Task<> write_all(std::span<const std::byte> from) override { return under_->write_all(from); }
  Task<> finish_writing() override { return under_->finish_writing(); }
  void close() noexcept override { under_->close(); }
  std::string explain_end() override { return under_->explain_end(); }

 protected:
  std::unique_ptr<Stream> under_;
};

}  // namespace vmferry::qmp
