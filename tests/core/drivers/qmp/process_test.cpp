#include "core/drivers/qmp/process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <thread>

#include "core/drivers/qmp/files.hpp"
#include "tests/support/run.hpp"
#include "tests/support/temp_dir.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

// A process whose first thread has ended, while another holds a lock until the pipe is closed.
class HalfDead {
 public:
  explicit HalfDead(const std::string& lock) {
    int hold[2];
    int ready[2];
    REQUIRE(::pipe(hold) == 0);
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(hold[1]);
      const int file = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      ::flock(file, LOCK_EX);
      std::thread([from = hold[0], to = ready[1]] {
        while (process_state(::getpid()) != 'Z') ::usleep(1000);
        char byte = 0;
        if (::write(to, &byte, 1) == 1 && ::read(from, &byte, 1) == 0) ::_exit(0);
      }).detach();
      ::syscall(SYS_exit, 0);
    }
    ::close(hold[0]);
    ::close(ready[1]);
    hold_ = Fd(hold[1]);
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::close(ready[0]);
  }
  ~HalfDead() {
    hold_ = Fd();
    ::waitpid(pid_, nullptr, 0);
  }
  HalfDead(const HalfDead&) = delete;
  HalfDead& operator=(const HalfDead&) = delete;

  ProcessId id() const { return process_now(pid_); }
  void let_go() { hold_ = Fd(); }

 private:
  static char process_state(pid_t pid) {
    const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    return stat ? stat->at(stat->rfind(')') + 2) : '?';
  }

  pid_t pid_ = -1;
  Fd hold_;
};

}  // namespace

TEST_CASE("qmp process: a zombie whose other threads hold locks has not ended") {
  TempDir dir;
  const std::string lock = dir / "lock";
  asio::io_context io;
  SystemClock clock;
  HalfDead process(lock);
  const ProcessId id = process.id();
  REQUIRE(alive(id));
  CHECK_FALSE(run(io, ended_within(id, clock, Millis(1))));
  CHECK_FALSE(try_lock(lock));
  SUBCASE("until it ends") { process.let_go(); }
  SUBCASE("until it is killed") { run(io, kill_and_wait(id, clock)); }
  CHECK(run(io, ended_within(id, clock, std::chrono::seconds(20))));
  CHECK(try_lock(lock));
  CHECK_FALSE(alive(id));
}
