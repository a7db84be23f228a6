#include <doctest/doctest.h>

#include "core/proto/domain.hpp"
#include "core/proto/migrate.hpp"
#include "core/proto/node.hpp"

using namespace vmferry;
using namespace vmferry::proto;

static Begin3ParamsArgs sample() {
  Begin3ParamsArgs args;
  args.dom = {Str("vm1"), WireUuid(), 7};
  args.params.v.push_back({"migrate_uri", WireParam::Value(Str("tcp:dst"))});
  args.params.v.push_back({"bandwidth", WireParam::Value(std::uint64_t{100})});
  args.params.v.push_back({"i", WireParam::Value(std::int32_t{-1})});
  args.params.v.push_back({"u", WireParam::Value(std::uint32_t{1})});
  args.params.v.push_back({"l", WireParam::Value(std::int64_t{-5000000000})});
  args.params.v.push_back({"d", WireParam::Value(1.5)});
  args.params.v.push_back({"b", WireParam::Value(true)});
  args.flags = 0x101;
  return args;
}

TEST_CASE("xdr: what is encoded decodes to the same, and encodes to the same bytes") {
  const auto bytes = xdr::encode(sample());
  REQUIRE(bytes);
  const auto back = xdr::decode<Begin3ParamsArgs>(*bytes);
  REQUIRE(back);
  CHECK(back->dom.name.v == "vm1");
  CHECK(back->dom.id == 7);
  REQUIRE(back->params.v.size() == 7);
  CHECK(std::get<std::int64_t>(back->params.v[4].value.v) == -5000000000);
  CHECK(std::get<double>(back->params.v[5].value.v) == 1.5);
  CHECK(std::get<bool>(back->params.v[6].value.v));
  CHECK(back->flags == 0x101);
  CHECK(*xdr::encode(*back) == *bytes);
}

TEST_CASE("xdr: a message cut anywhere, or with anything after it, is refused") {
  const auto bytes = xdr::encode(sample());
  REQUIRE(bytes);
  for (std::size_t n = 0; n < bytes->size(); ++n) {
    const auto cut = xdr::decode<Begin3ParamsArgs>(std::span(*bytes).first(n));
    CHECK_FALSE(cut);
    if (!cut) CHECK(cut.error().id == ErrorId::protocol);
  }
  xdr::Bytes longer = *bytes;
  longer.push_back({});
  CHECK_FALSE(xdr::decode<Begin3ParamsArgs>(longer));
}

static xdr::Bytes words(std::initializer_list<std::uint32_t> values) {
  xdr::Bytes out;
  xdr::Writer w(out);
  for (const std::uint32_t v : values) w.word(v);
  return out;
}

TEST_CASE("xdr: counts are checked against their limit and against what is there") {
  CHECK_FALSE(xdr::decode<ListAllDomainsRet>(words({0xffffffff, 0})));
  CHECK_FALSE(xdr::decode<ListAllDomainsRet>(words({16385, 0})));
  CHECK_FALSE(xdr::decode<ListAllDomainsRet>(words({2, 0, 0, 0, 0, 0, 0, 0})));
  CHECK_FALSE(xdr::decode<TextRet>(words({0xffffffff, 0})));
  CHECK_FALSE(xdr::decode<TextRet>(words({5, 0})));
  CHECK_FALSE(xdr::decode<CookieRet>(words({(4 << 20) + 1, 0})));
  CHECK(xdr::decode<ListAllDomainsRet>(words({0, 0})));
  CHECK(xdr::decode<CellsRet>(words({1, 0, 5}))->bytes.v == std::vector<std::uint64_t>{5});
}

TEST_CASE("xdr: more than the protocol allows is not sent") {
  CHECK_FALSE(xdr::encode(TextRet{Str(std::string((4 << 20) + 1, 'x'))}));
  CHECK_FALSE(xdr::encode(TextRet{Str(std::string("a\0b", 3))}));
  WireParams many;
  for (int i = 0; i < 65; ++i) many.v.push_back({"f", WireParam::Value(std::int32_t{0})});
  CHECK_FALSE(xdr::encode(many));
  many.v.pop_back();
  CHECK(xdr::encode(many));
  WireParam wide{std::string(80, 'x'), WireParam::Value(std::int32_t{0})};
  CHECK_FALSE(xdr::encode(wide));
}

TEST_CASE("xdr: an unknown kind of value, and a NUL inside a text, are refused") {
  CHECK_FALSE(xdr::decode<WireParam>(words({1, 0x61000000, 8, 0})));
  CHECK_FALSE(xdr::decode<WireParam>(words({1, 0x61000000, 0, 0})));
  CHECK(xdr::decode<WireParam>(words({1, 0x61000000, 1, 0})));
  CHECK_FALSE(xdr::decode<TextRet>(words({3, 0x61006200})));
}

TEST_CASE("xdr: any non-zero number means present, and true") {
  const auto some = xdr::decode<MaybeStr>(words({7, 1, 0x61000000}));
  REQUIRE(some);
  REQUIRE(some->v);
  CHECK(some->v->v == "a");
  CHECK(xdr::decode<BoolRet>(words({0x100}))->value);
}
