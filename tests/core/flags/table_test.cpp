#include "core/flags/table.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>

using namespace vmferry;

TEST_CASE("flags: table: words that people type find their row") {
  for (const char* word : {"--tunnelled", "tunneled", "TUNNELLED", "vir_migrate_tunnelled"}) {
    CAPTURE(word);
    const OptRow* r = find_opt(word);
    REQUIRE(r != nullptr);
    CHECK(r->id == Opt::tunnelled);
  }
  REQUIRE(find_opt("bandwidth.postcopy") != nullptr);
  CHECK(find_opt("bandwidth.postcopy")->id == Opt::bandwidth_postcopy);
  CHECK(find_opt("--bogus") == nullptr);
  CHECK(find_opt("") == nullptr);
  CHECK(find_opt("VIR_MIGRATE_") == nullptr);
  CHECK(find_param("live") == nullptr);
}

TEST_CASE("flags: table: the wire values are libvirt's") {
  CHECK(FlagSet{Flag::live, Flag::change_protection}.bits() == 0x101);
  CHECK(FlagSet{Flag::zerocopy}.bits() == 0x100000);
  CHECK(flags_text({Flag::live, Flag::persist_dest}) == "LIVE | PERSIST_DEST");
  CHECK(flags_text({}) == "0");
  CHECK(version_text(libvirt_version(11, 3, 0)) == "11.3.0");
}

TEST_CASE("flags: table: an option and its help fit a line of 80 columns") {
  for (const OptRow& r : opt_rows()) {
    CAPTURE(r.option);
    CHECK(r.help.size() <= 72);
    CHECK(r.option.size() + r.metavar.size() <= 40);
  }
}

TEST_CASE("flags: table: virsh's legacy positions") {
  std::string order;
  for (const Opt o : legacy_positionals()) order += fmt::format("{} ", row(o).option);
  CHECK(order ==
        "migrateuri graphicsuri listen-address dname timeout xml migrate-disks disks-port ");
}
