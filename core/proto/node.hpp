#pragma once
// What a host says of itself: processors, memory, CPU models.
#include "core/proto/common.hpp"

namespace vmferry::proto {

struct NodeInfoRet {
  xdr::FixedChars<32> model;
  std::uint64_t memory_kib = 0;
  std::int32_t cpus = 0, mhz = 0, nodes = 0, sockets = 0, cores = 0, threads = 0;
  static auto fields(auto& s) {
    return std::tie(s.model, s.memory_kib, s.cpus, s.mhz, s.nodes, s.sockets, s.cores, s.threads);
  }
};
struct CellsArgs {
  std::int32_t start = 0, max = 0;
  static auto fields(auto& s) { return std::tie(s.start, s.max); }
};
struct CellsRet {
  xdr::List<std::uint64_t, 1024> bytes;
  static auto fields(auto& s) { return std::tie(s.bytes); }
};
inline constexpr std::uint32_t kCpusMax = 256;
struct BaselineArgs {
  xdr::List<Str, kCpusMax> cpus;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.cpus, s.flags); }
};
struct CompareHypervisorCpuArgs {
  MaybeStr emulator, arch, machine, virttype;
  Str cpu;
  std::uint32_t flags = 0;
  static auto fields(auto& s) {
    return std::tie(s.emulator, s.arch, s.machine, s.virttype, s.cpu, s.flags);
  }
};
struct BaselineHypervisorCpuArgs {
  MaybeStr emulator, arch, machine, virttype;
  xdr::List<Str, kCpusMax> cpus;
  std::uint32_t flags = 0;
  static auto fields(auto& s) {
    return std::tie(s.emulator, s.arch, s.machine, s.virttype, s.cpus, s.flags);
  }
};

using NodeGetInfo = Procedure<6, "NODE_GET_INFO", Void, NodeInfoRet>;
using NodeGetFreeMemory = Procedure<102, "NODE_GET_FREE_MEMORY", Void, U64Ret>;  // bytes
using NodeGetCellsFreeMemory = Procedure<101, "NODE_GET_CELLS_FREE_MEMORY", CellsArgs, CellsRet>;
using ConnectCompareCpu = Procedure<158, "CONNECT_COMPARE_CPU", TextFlagsArgs, IntRet>;
using ConnectBaselineCpu = Procedure<162, "CONNECT_BASELINE_CPU", BaselineArgs, TextRet>;
using ConnectCompareHypervisorCpu =
    Procedure<393, "CONNECT_COMPARE_HYPERVISOR_CPU", CompareHypervisorCpuArgs, IntRet>;
using ConnectBaselineHypervisorCpu =
    Procedure<394, "CONNECT_BASELINE_HYPERVISOR_CPU", BaselineHypervisorCpuArgs, TextRet>;

}  // namespace vmferry::proto
