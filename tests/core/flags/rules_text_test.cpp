#include "core/flags/rules_text.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace vmferry;

TEST_CASE("rules text: every flag is in the overview, every option in a driver's table") {
  const std::string overview = rules_overview();
  for (const OptRow& r : opt_rows()) {
    CAPTURE(r.option);
    if (is_flag(r.id)) CHECK(overview.contains(option_text(r.id)));
    for (const DriverRules* rules : all_rules())
      if (rules->cannot.empty() && (is_flag(r.id) || is_param(r.id)))
        CHECK(rules_text(*rules, 0).contains(option_text(r.id)));
  }
  CHECK_FALSE(overview.contains(" \n"));
}

TEST_CASE("rules text: JSON holds the stances, codes and releases") {
  const auto vz = rules_json(*find_rules("vz"), 0);
  CHECK(vz["driver"] == "vz");
  bool seen = false;
  for (const auto& o : vz["options"]) {
    if (o["option"] != "--compressed") continue;
    seen = true;
    CHECK(o["running"]["stance"] == "inherent");
    CHECK(o["running"]["sent"] == false);
    CHECK(o["value"] == 0x800);
  }
  CHECK(seen);
  const auto old = rules_json(*find_rules("qemu"), libvirt_version(9, 0, 0));
  for (const auto& o : old["options"])
    if (o["name"] == "compression.zlib.level") CHECK(o["running"]["stance"] == "unknown");
  CHECK(rules_json(*find_rules("ch"), 0)["migrates"] == false);
}

TEST_CASE("rules text: one option, with what it goes with") {
  const std::string text = option_rules_text(Opt::tunnelled);
  CHECK(text.contains("needs --p2p"));
  CHECK(text.contains("excludes --parallel"));
  CHECK(text.contains("VIR_MIGRATE_TUNNELLED, since libvirt 0.7.2, 0x4"));
  CHECK(option_rules_text(Opt::peer2peer).contains("is needed by --tunnelled"));
  const auto json = option_rules_json(Opt::live);
  CHECK(json["drivers"]["vz-2015"]["running"]["stance"] == "demanded");
  CHECK_FALSE(option_rules_json(Opt::timeout).contains("drivers"));
}
