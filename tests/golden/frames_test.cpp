// Whole packets, byte for byte as the code that rpcgen makes from remote_protocol.x produces them
// (libvirt 11.3, libtirpc 1.3.3).
#include <doctest/doctest.h>

#include "core/proto/connect.hpp"
#include "core/proto/convert.hpp"
#include "core/proto/domain.hpp"
#include "core/proto/error.hpp"
#include "core/proto/event.hpp"
#include "core/proto/migrate.hpp"
#include "core/proto/node.hpp"
#include "core/proto/storage.hpp"
#include "core/rpc/frame.hpp"

using namespace vmferry;
using namespace vmferry::proto;

namespace {

xdr::Bytes words(std::initializer_list<std::uint32_t> values) {
  xdr::Bytes out;
  xdr::Writer w(out);
  for (const std::uint32_t v : values) w.word(v);
  return out;
}

rpc::Header head(std::int32_t procedure, rpc::Type type, std::uint32_t serial,
                 rpc::Status status = rpc::Status::ok) {
  rpc::Header h;
  h.procedure = procedure;
  h.type = type;
  h.serial = serial;
  h.status = status;
  return h;
}

// The message makes these bytes, and these bytes make the message.
template <class T>
void check(const rpc::Header& header, const T& message,
           std::initializer_list<std::uint32_t> golden) {
  const xdr::Bytes want = words(golden);
  const auto payload = xdr::encode(message);
  REQUIRE(payload);
  const auto packed = rpc::pack(header, *payload);
  REQUIRE(packed);
  CHECK(*packed == want);
  rpc::Assembler assembler;
  assembler.feed(want);
  const auto packet = assembler.next();
  REQUIRE(packet);
  REQUIRE(packet->has_value());
  CHECK((*packet)->header.serial == header.serial);
  const auto back = xdr::decode<T>((*packet)->payload);
  REQUIRE(back);
  CHECK(*xdr::encode(*back) == *payload);
}

Domain vm1() {
  const auto uuid = parse_uuid("10111213-1415-1617-1819-1a1b1c1d1e1f");
  return {Str("vm1"), WireUuid(uuid->bytes), 7};
}

using enum rpc::Type;

}  // namespace

TEST_CASE("golden: connecting") {
  check(head(66, call, 0), Void{}, {0x1c, 0x20008086, 1, 0x42, 0, 0, 0});
  check(head(66, reply, 0), AuthListRet{std::vector<AuthType>{AuthType::none}},
        {0x24, 0x20008086, 1, 0x42, 1, 0, 0, 1, 0});
  check(head(60, call, 1), FeatureArgs{Feature::keepalive},
        {0x20, 0x20008086, 1, 0x3c, 0, 1, 0, 10});
  check(
      head(1, call, 2), OpenArgs{MaybeStr(Str("qemu:///system")), 0},
      {0x38, 0x20008086, 1, 1, 0, 2, 0, 1, 0xe, 0x71656d75, 0x3a2f2f2f, 0x73797374, 0x656d0000, 0});
  const xdr::Bytes token{std::byte{0x6e}, std::byte{0x80}, std::byte{0x2c}};
  check(head(67, call, 1), SaslStartArgs{Str("SCRAM"), false, token},
        {0x3c, 0x20008086, 1, 0x43, 0, 1, 0, 5, 0x53435241, 0x4d000000, 0, 3, 0x6e, 0xffffff80,
         0x2c});
}

TEST_CASE("golden: keepalive") {
  rpc::Header h = head(kPing, message, 0);
  h.program = kKeepaliveProgram;
  check(h, Void{}, {0x1c, 0x6b656570, 1, 1, 2, 0, 0});
  h.procedure = kPong;
  check(h, Void{}, {0x1c, 0x6b656570, 1, 2, 2, 0, 0});
}

TEST_CASE("golden: a node's information, whose model takes four bytes per character") {
  check(head(6, reply, 3), NodeInfoRet{{"x86_64"}, 16777216, 8, 2400, 1, 1, 4, 2},
        {0xbc, 0x20008086, 1, 6, 1, 3, 0, 0x78, 0x38,       0x36, 0x5f,  0x36, 0x34, 0, 0, 0,
         0,    0,          0, 0, 0, 0, 0, 0,    0,          0,    0,     0,    0,    0, 0, 0,
         0,    0,          0, 0, 0, 0, 0, 0,    0x01000000, 8,    0x960, 1,    1,    4, 2});
}

TEST_CASE("golden: phases with parameters") {
  Begin3ParamsArgs begin;
  begin.dom = vm1();
  begin.params.v = {{"migrate_uri", WireParam::Value(Str("tcp:dst"))},
                    {"bandwidth", WireParam::Value(std::uint64_t{100})},
                    {"disks_port", WireParam::Value(std::int32_t{1})},
                    {"b", WireParam::Value(true)},
                    {"d", WireParam::Value(1.5)}};
  begin.flags = 0x101;
  check(head(302, call, 9), begin,
        {0xb8,       0x20008086, 1,          0x12e,      0,          9,          0,
         3,          0x766d3100, 0x10111213, 0x14151617, 0x18191a1b, 0x1c1d1e1f, 7,
         5,          0xb,        0x6d696772, 0x6174655f, 0x75726900, 7,          7,
         0x7463703a, 0x64737400, 9,          0x62616e64, 0x77696474, 0x68000000, 4,
         0,          0x64,       0xa,        0x6469736b, 0x735f706f, 0x72740000, 1,
         1,          1,          0x62000000, 6,          1,          1,          0x64000000,
         5,          0x3ff80000, 0,          0x101});
  const PrepareRet prepared{
      xdr::Bytes{std::byte{'<'}, std::byte{'a'}, std::byte{'/'}, std::byte{'>'}, std::byte{0}},
      MaybeStr(Str("tcp:dst:49152"))};
  check(head(303, reply, 10), prepared,
        {0x40, 0x20008086, 1, 0x12f, 1, 0xa, 0, 5, 0x3c612f3e, 0, 1, 0xd, 0x7463703a, 0x6473743a,
         0x34393135, 0x32000000});
}

TEST_CASE("golden: an error") {
  RemoteError error;
  error.code = kNoDomain;
  error.domain = kFromQemu;
  error.message = MaybeStr(Str("Domain not found"));
  error.str1 = MaybeStr(Str("Domain not found: %s"));
  check(head(23, reply, 4, rpc::Status::error), error,
        {0x74, 0x20008086, 1,          0x17,       1,          4,          1,          0x2a,
         0xa,  1,          0x10,       0x446f6d61, 0x696e206e, 0x6f742066, 0x6f756e64, 2,
         0,    1,          0x14,       0x446f6d61, 0x696e206e, 0x6f742066, 0x6f756e64, 0x3a202573,
         0,    0,          0xffffffff, 0xffffffff, 0});
}

TEST_CASE("golden: an event, a domain's and a volume's information") {
  check(head(318, message, 1), LifecycleBody{3, vm1(), 5, 3},
        {0x44, 0x20008086, 1, 0x13e, 2, 1, 0, 3, 3, 0x766d3100, 0x10111213, 0x14151617, 0x18191a1b,
         0x1c1d1e1f, 7, 5, 3});
  check(head(16, reply, 6), DomainInfoRet{1, 4194304, 4194304, 4, 123456789},
        {0x3c, 0x20008086, 1, 0x10, 1, 6, 0, 1, 0, 0x400000, 0, 0x400000, 4, 0, 0x75bcd15});
  check(head(98, reply, 7), VolumeInfoRet{1, 1024, 512},
        {0x30, 0x20008086, 1, 0x62, 1, 7, 0, 1, 0, 0x400, 0, 0x200});
}

TEST_CASE("golden: a hole in a stream has a header that we understand") {
  rpc::Assembler assembler;
  assembler.feed(words({0x28, 0x20008086, 1, 0xd1, 6, 5, 2, 0, 0x10000, 0}));
  const auto packet = assembler.next();
  REQUIRE(packet);
  REQUIRE(packet->has_value());
  CHECK((*packet)->header.type == stream_hole);
  CHECK((*packet)->header.status == rpc::Status::proceed);
  CHECK((*packet)->payload.size() == 12);
}
