#include "core/drivers/qmp/handover.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

constexpr std::uint64_t kOld = 7002000, kNew = 10000000;

// This process stands for the running QEMU.
Instance running(Words argv, std::uint64_t shared = 0) {
  Instance i;
  i.process = process_now(::getpid());
  i.argv = std::move(argv);
  i.shared_ram = shared;
  return i;
}

Result<Handover> over(const Words& argv, std::uint64_t version, std::uint64_t shared = 0) {
  return hand_over(running(argv, shared), argv, version);
}

const std::string kProgram = "qemu-system-x86_64";

}  // namespace

TEST_CASE("qmp hand-over: memory that vmferry made, whatever the new program's name") {
  const Fd memory = make_memory(kMemoryName, 8 << 20);
  const Instance old = running({kProgram, "-m", "8M"}, 8 << 20);
  const auto got = hand_over(old, {"qemu-new", "-m", "8M"}, kNew);
  REQUIRE(got);
  CHECK(got->whole);
  CHECK(got->bytes == 8 << 20);
  const auto gone = over({kProgram, "-m", "4M"}, kNew, 4 << 20);
  REQUIRE(gone);
  CHECK_FALSE(gone->any);
  CHECK(gone->memory);
  CHECK_FALSE(gone->copied_because.empty());
}

TEST_CASE("qmp hand-over: a memfd backend is given as a file, but not from a QEMU since 8.1") {
  const Words argv{kProgram, "-object", "memory-backend-memfd,id=m,size=3145728,share=on,seal=on",
                   "-machine", "memory-backend=m"};
  const Fd memory = make_memory("memory-backend-memfd", 3145728);
  const auto got = over(argv, kOld);
  REQUIRE(got);
  CHECK(got->whole);
  REQUIRE(got->inherited.size() == 1);
  CHECK(got->argv[2] == "memory-backend-file,id=m,size=3145728,share=on,mem-path=/proc/self/fd/" +
                            std::to_string(got->inherited[0].get()));
  const auto later = over(argv, kNew);
  REQUIRE(later);
  CHECK_FALSE(later->any);
  CHECK(later->argv == argv);
  CHECK(later->copied_because.find("memory-backend-file") != std::string::npos);
  const Fd twin = make_memory("memory-backend-memfd", 3145728);
  const auto unclear = over(argv, kOld);
  REQUIRE(unclear);
  CHECK_FALSE(unclear->any);
}

TEST_CASE("qmp hand-over: a file that is there stays as it is; one that is gone is found again") {
  const auto path =
      std::filesystem::temp_directory_path() / ("vmf-memory-" + std::to_string(::getpid()));
  const Words argv{kProgram, "-object",
                   "memory-backend-file,id=m,size=1048576,share=on,mem-path=" + path.string(),
                   "-machine", "memory-backend=m"};
  {
    std::ofstream(path) << std::string(1 << 20, 'x');
  }
  const std::ifstream open_still(path);
  const auto got = over(argv, kNew);
  REQUIRE(got);
  CHECK(got->whole);
  CHECK(got->argv == argv);
  std::filesystem::remove(path);
  const auto found = over(argv, kNew);
  REQUIRE(found);
  CHECK(found->whole);
  CHECK(found->inherited.size() == 1);
}

TEST_CASE("qmp hand-over: a shared file that cannot be found again is refused, never copied into") {
  const Words argv{kProgram, "-object",
                   "memory-backend-file,id=m,size=1048576,share=on,mem-path=/nowhere/at/all",
                   "-machine", "memory-backend=m"};
  CHECK_FALSE(over(argv, kNew));
}

TEST_CASE("qmp hand-over: private memory is copied, and it is said how it need not be") {
  const auto got =
      over({kProgram, "-object", "memory-backend-ram,id=m,size=1M", "-machine", "memory-backend=m"},
           kOld);
  REQUIRE(got);
  CHECK_FALSE(got->any);
  CHECK(got->copied_because.find("share=on") != std::string::npos);
}
