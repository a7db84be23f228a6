#include "core/migrate/draft.hpp"

#include <doctest/doctest.h>

using namespace vmferry;

namespace {

Draft typed(std::initializer_list<Opt> options) {
  Draft draft;
  for (const Opt o : options) {
    const OptRow& r = row(o);
    Result<> ok;
    if (r.type == ValueType::boolean)
      ok = draft.choose(o, Choice::yes);
    else
      ok = draft.set(o, r.type == ValueType::list && !r.values.empty() ? "zstd" : "2");
    REQUIRE(ok.has_value());
  }
  return draft;
}

bool names_both(const Error& e, std::string_view a, std::string_view b) {
  return e.message.contains(a) && e.message.contains(b);
}

}  // namespace

TEST_CASE("draft: what virsh refuses is refused, naming both options") {
  struct Case {
    std::initializer_list<Opt> options;
    std::string_view a, b;
  };
  const Case cases[] = {
      {{Opt::live, Opt::offline}, "--live", "--offline"},
      {{Opt::live, Opt::timeout, Opt::timeout_suspend, Opt::postcopy, Opt::timeout_postcopy},
       "--timeout-suspend",
       "--timeout-postcopy"},
      {{Opt::non_shared_disk, Opt::non_shared_inc}, "--copy-storage-all", "--copy-storage-inc"},
      {{Opt::postcopy_after_precopy}, "--postcopy-after-precopy", "--postcopy"},
      {{Opt::postcopy_resume}, "--postcopy-resume", "--postcopy"},
      {{Opt::timeout, Opt::timeout_postcopy}, "--timeout-postcopy", "--postcopy"},
      {{Opt::tls_destination}, "--tls-destination", "--tls"},
      {{Opt::offline, Opt::timeout}, "--offline", "--timeout"},
      {{Opt::timeout_suspend}, "--timeout-suspend", "--timeout"},
      {{Opt::timeout_abort}, "--timeout-abort", "--timeout"},
      {{Opt::non_shared_synchronous_writes},
       "--copy-storage-synchronous-writes",
       "--copy-storage-all"},
      {{Opt::migrate_disks}, "--migrate-disks", "--copy-storage-all"},
      {{Opt::tunnelled}, "--tunnelled", "--p2p"},
      {{Opt::zerocopy}, "--zerocopy", "--parallel"},
      {{Opt::peer2peer, Opt::tunnelled, Opt::parallel}, "--tunnelled", "--parallel"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.a);
    const Result<Request> r = typed(c.options).request();
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().id == ErrorId::usage);
    CHECK(names_both(r.error(), c.a, c.b));
  }
}

TEST_CASE("draft: every objection is listed") {
  const Draft d = typed({Opt::live, Opt::offline, Opt::tls_destination, Opt::postcopy_resume});
  const Result<Request> r = d.request();
  REQUIRE_FALSE(r.has_value());
  CHECK(1 + r.error().notes.size() == d.objections().size());
  CHECK(d.objections().size() == 3);
}

TEST_CASE("draft: what defaults fill in need not be typed, except with --strict") {
  CHECK(typed({Opt::timeout}).request().has_value());
  CHECK(typed({Opt::persistent_xml}).request().has_value());
  CHECK(typed({Opt::offline}).request().has_value());
  CHECK_FALSE(typed({Opt::strict, Opt::timeout}).request().has_value());
  CHECK_FALSE(typed({Opt::strict, Opt::persistent_xml}).request().has_value());
  CHECK_FALSE(typed({Opt::strict, Opt::offline}).request().has_value());
  Draft d = typed({Opt::persistent_xml});
  REQUIRE(d.choose(Opt::persist_dest, Choice::no).has_value());
  CHECK_FALSE(d.request().has_value());
}

TEST_CASE("draft: values are bounded") {
  struct Case {
    Opt option;
    std::string_view value;
    bool ok;
  };
  const Case cases[] = {{Opt::bandwidth, "0", true},
                        {Opt::bandwidth, "8796093022207", true},
                        {Opt::bandwidth, "8796093022208", false},
                        {Opt::bandwidth, "99999999999999999999", false},
                        {Opt::bandwidth, "-1", false},
                        {Opt::bandwidth, "5x", false},
                        {Opt::bandwidth, "", false},
                        {Opt::disks_port, "65536", false},
                        {Opt::destination_name, "", false},
                        {Opt::compression, "xbzrle,mt", true},
                        {Opt::compression, "xbzrle,,mt", false},
                        {Opt::compression, "lzo", false},
                        {Opt::compression, "mt,mt", false},
                        {Opt::live, "1", false}};
  for (const Case& c : cases) {
    CAPTURE(c.value);
    Draft d;
    CHECK(d.set(c.option, c.value).has_value() == c.ok);
  }
  Draft d;
  CHECK_FALSE(d.choose(Opt::strict, Choice::no).has_value());
  REQUIRE(d.choose(Opt::live, Choice::yes).has_value());
  CHECK_FALSE(d.choose(Opt::live, Choice::no).has_value());
}

TEST_CASE("draft: the request holds what was typed, as libvirt wants it") {
  Draft d = typed({Opt::live, Opt::timeout, Opt::timeout_abort, Opt::max_freeze, Opt::parallel});
  REQUIRE(d.set(Opt::bandwidth, "0").has_value());
  REQUIRE(d.set(Opt::compression_zstd_level, "3").has_value());
  REQUIRE(d.set(Opt::compression, "zstd").has_value());
  REQUIRE(d.choose(Opt::persist_dest, Choice::no).has_value());
  const Result<Request> r = d.request();
  REQUIRE(r.has_value());
  CHECK((*r)[Flag::live] == Choice::yes);
  CHECK((*r)[Flag::persist_dest] == Choice::no);
  CHECK((*r)[Flag::offline] == Choice::unset);
  CHECK_FALSE(r->params.has("bandwidth"));
  REQUIRE(r->params.get<std::int32_t>("compression.zstd.level") != nullptr);
  CHECK(r->params.items.size() == 2);
  REQUIRE(r->timeout.has_value());
  CHECK(r->timeout->action == TimeoutAction::abort);
  CHECK(r->timeout->after == std::chrono::seconds(2));
  CHECK(chosen(*r).yes(Opt::compression));
  CHECK(chosen(*r).unset(Opt::bandwidth));
}
