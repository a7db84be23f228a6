#pragma once
// libvirt's RPC packet (virnetprotocol.x): a length word, a header of six words, the payload. Pure:
// nothing is read or written here.
#include <optional>

#include "core/proto/common.hpp"

namespace vmferry::rpc {

using xdr::Bytes;

enum class Type : std::int32_t {
  call = 0,
  reply = 1,
  message = 2,
  stream = 3,
  call_with_fds = 4,
  reply_with_fds = 5,
  stream_hole = 6,
};
enum class Status : std::int32_t { ok = 0, error = 1, proceed = 2 };  ///< proceed: CONTINUE

struct Header {
  std::uint32_t program = proto::kRemoteProgram, version = proto::kVersion;
  std::int32_t procedure = 0;
  Type type = Type::call;
  std::uint32_t serial = 0;
  Status status = Status::ok;
  static auto fields(auto& s) {
    return std::tie(s.program, s.version, s.procedure, s.type, s.serial, s.status);
  }
};

inline constexpr std::uint32_t kHeaderSize = 24, kPacketMin = 4 + kHeaderSize,
                               kPacketMax = 33554432 + 4;  ///< length words, inclusive

struct Packet {
  Header header;
  Bytes payload;
};

/// The packet's bytes, length word included. Errors: unsupported, above the limit.
Result<Bytes> pack(const Header& header, std::span<const std::byte> payload);

/// Puts packets together again from however the bytes arrive. Memory grows with what has arrived,
/// never with what a length word promises.
class Assembler {
 public:
  void feed(std::span<const std::byte> bytes);
  /// The next whole packet; nothing when more bytes are needed. Errors: connect_protocol when the
  /// first bytes are another protocol's (it says which), else protocol. Both are final.
  Result<std::optional<Packet>> next();
  bool empty() const { return buffer_.size() == at_; }  ///< not in the middle of a packet

 private:
  Bytes buffer_;
  std::size_t at_ = 0;  // where the next packet starts
  bool any_ = false;    // a packet came through, so it is libvirt's RPC
};

/// Which well-known protocol begins like this ("an ssh server", …); empty: none that we know.
std::string_view recognise(std::span<const std::byte> first_bytes);

}  // namespace vmferry::rpc
