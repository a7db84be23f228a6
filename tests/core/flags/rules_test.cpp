#include "core/flags/rules.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

using namespace vmferry;

namespace {

constexpr std::uint64_t kNew = libvirt_version(11, 3, 0), kOld = libvirt_version(9, 0, 0);

char letter(const Ruling& r) {
  if (r.stance == Stance::inherent && !r.sent) return 'i';
  return static_cast<char>(std::toupper(name(r.stance).front()));
}

/// One letter a flag, by bit: Accepted, Demanded, Inherent (i: the bit is rejected), Harmless,
/// Refused.
std::string flags_of(const DriverRules& rules, bool active) {
  std::string out;
  for (int bit = 0; bit < kFlagCount; ++bit)
    out += letter(ruling(rules, opt(static_cast<Flag>(bit)), active, kNew));
  return out;
}
std::string params_of(const DriverRules& rules, bool active) {
  std::string out;
  for (int i = 0; i < kParamCount; ++i)
    out += letter(ruling(rules, static_cast<Opt>(kFlagCount + i), active, kNew));
  return out;
}

bool refuses(const std::vector<Objection>& objections, Opt option, std::int32_t code) {
  return std::ranges::any_of(objections, [&](const Objection& o) {
    return o.option == option && o.code == code && !o.reason.empty();
  });
}

}  // namespace

TEST_CASE("rules: every driver x flag x state") {
  struct Row {
    const char* driver;
    const char *running, *stopped;
  };
  const Row rows[] = {
      //          LPTPUPNICUOCAARPTPSRZ
      {"qemu", "AAAAAAAAAAHAAAAAAAAAA", "RAAAAAAAAADAAAAAAAAAA"},
      {"test", "AAAAAAAAAAHAAAAAAAAAA", "RAAAAAAAAADAAAAAAAAAA"},
      {"qmp", "AAAAAAAAARHAAARARAAAA", "RAAAAAAAARDAAARARAAAA"},
      {"xen", "AAAAAARRARRRRRRRRRRRR", "RAAAAARRARRRRRRRRRRRR"},
      {"vz", "IARIIARIRRRiRRRRRRRRR", "HARIIHRIRRRRRRRRRRRRR"},
      {"vz-2015", "DRRDRARRRRHDRRRRRRRRR", "RRRDRRRRRRDRRRRRRRRRR"},
      {"openvz", "ARRiiRiRRRRRRRRRRRRRR", "RRRiiRiRRRRRRRRRRRRRR"},
      {"esx", "IRRIIRRRRRRRRRRRRRRRR", "IRRIIRRRRRRRRRRRRRRRR"},
      {"ch", "RRRRRRRRRRRRRRRRRRRRR", "RRRRRRRRRRRRRRRRRRRRR"},
      {"other", "RRRRRRRRRRRRRRRRRRRRR", "RRRRRRRRRRRRRRRRRRRRR"},
  };
  for (const Row& r : rows) {
    CAPTURE(r.driver);
    const DriverRules* rules = find_rules(r.driver);
    REQUIRE(rules != nullptr);
    CHECK(flags_of(*rules, true) == r.running);
    CHECK(flags_of(*rules, false) == r.stopped);
  }
}

TEST_CASE("rules: every driver x parameter x state") {
  struct Row {
    const char *driver, *says;
  };
  const Row rows[] = {
      //          UNXPBBBGLDDPUCmmmxzzAAPT
      {"qemu", "AAAAAAAAAAAAAAAAAAAAAAAA"},   {"test", "AAAAAAAAAAAAAAAAAAAAAAAA"},
      {"qmp", "AAAAAARAAARAAARRRAAAAAAR"},    {"xen", "AAARRRRRRRRRRRRRRRRRRRRR"},
      {"vz", "AARRRRRRRRRRRRRRRRRRRRRR"},     {"vz-2015", "ARRRRRRRRRRRRRRRRRRRRRRR"},
      {"openvz", "ARARRRRRRRRRRRRRRRRRRRRR"}, {"esx", "ARRRRRRRRRRRRRRRRRRRRRRR"},
      {"ch", "RRRRRRRRRRRRRRRRRRRRRRRR"},     {"other", "RRRRRRRRRRRRRRRRRRRRRRRR"},
  };
  for (const Row& r : rows) {
    CAPTURE(r.driver);
    CHECK(params_of(*find_rules(r.driver), true) == r.says);
    CHECK(params_of(*find_rules(r.driver), false) == r.says);
  }
}

TEST_CASE("rules: guests that a driver cannot move in their state") {
  struct Row {
    const char* driver;
    bool stopped, paused;
  };
  const Row rows[] = {{"qemu", true, true}, {"qmp", true, true},      {"test", true, true},
                      {"xen", false, true}, {"vz", true, true},       {"vz-2015", true, true},
                      {"esx", true, true},  {"openvz", false, false}, {"ch", true, true}};
  for (const Row& r : rows) {
    CAPTURE(r.driver);
    CHECK(find_rules(r.driver)->inactive.empty() == r.stopped);
    CHECK(find_rules(r.driver)->paused.empty() == r.paused);
  }
}

TEST_CASE("rules: codes of libvirt's vz, openvz and esx drivers, as their sources have them") {
  struct Row {
    const char* driver;
    Opt option;
    std::int32_t code;
  };
  const Row rows[] = {
      {"vz", Opt::unsafe, kInvalidArg},  // virCheckFlags
      {"vz", Opt::destination_xml, kOperationUnsupported},
      {"vz", Opt::bandwidth, kOperationUnsupported},
      {"vz", Opt::graphics_uri, kArgumentUnsupported},  // virTypedParamsValidate
      {"openvz", Opt::paused, kInvalidArg},
      {"openvz", Opt::bandwidth, kArgumentUnsupported},
      {"openvz", Opt::destination_name, kOperationFailed},  // Finish misses the new name
      {"esx", Opt::destination_name, kInvalidArg},
  };
  for (const Row& r : rows) {
    CAPTURE(r.driver);
    CAPTURE(row(r.option).option);
    const Ruling says = ruling(*find_rules(r.driver), r.option, true, 0);
    CHECK(says.stance == Stance::refused);
    CHECK(says.code == r.code);
  }
}

TEST_CASE("rules: each refusal has its reason and libvirt's code") {
  for (const DriverRules* rules : all_rules())
    for (const OptRow& r : opt_rows())
      for (const bool active : {true, false}) {
        if (!is_flag(r.id) && !is_param(r.id)) continue;
        CAPTURE(rules->name);
        CAPTURE(r.option);
        const Ruling says = ruling(*rules, r.id, active, kNew);
        if (says.stance == Stance::accepted) continue;
        CHECK(says.reason.size() > 10);
        if (says.stance == Stance::refused && rules->name != "esx") CHECK(says.code != 0);
      }
}

TEST_CASE("rules: what a release does not know is refused with its code") {
  const DriverRules& qemu = *find_rules("qemu");
  const Ruling zlib = ruling(qemu, Opt::compression_zlib_level, true, kOld);
  CHECK(zlib.unknown);
  CHECK(zlib.code == kArgumentUnsupported);
  CHECK(zlib.reason == "libvirt 9.0.0 does not know it; it came with 9.4.0");
  CHECK(ruling(qemu, Opt::compression_zlib_level, true, kNew).stance == Stance::accepted);
  const Ruling zerocopy = ruling(qemu, Opt::zerocopy, true, libvirt_version(8, 0, 0));
  CHECK(zerocopy.unknown);
  CHECK(zerocopy.code == kInvalidArg);
  Params params;
  params.add("bandwidth.avail.switchover", std::uint64_t{5});
  CHECK(refuses(check_literal(qemu, {Flag::live}, params, true, kOld),
                Opt::bandwidth_avail_switchover, kArgumentUnsupported));
}

TEST_CASE("rules: vz-2015 literally") {
  const DriverRules& rules = *find_rules("vz-2015");
  const auto says = [&](FlagSet flags, bool active) {
    return check_literal(rules, flags, {}, active, 0);
  };
  CHECK(says({Flag::live, Flag::compressed, Flag::persist_dest}, true).empty());
  CHECK(says({Flag::live, Flag::compressed, Flag::persist_dest, Flag::paused}, true).empty());
  CHECK(says({Flag::live, Flag::compressed, Flag::persist_dest, Flag::offline}, true).empty());
  CHECK(says({Flag::offline, Flag::persist_dest}, false).empty());
  CHECK(says({}, true).size() == 3);
  CHECK(says({}, false).size() == 2);
  CHECK(refuses(says({Flag::live, Flag::compressed}, true), Opt::persist_dest, kInvalidArg));
  CHECK(refuses(says({Flag::offline, Flag::persist_dest, Flag::live}, false), Opt::live,
                kInvalidArg));
  for (const Flag f : {Flag::unsafe, Flag::tunnelled, Flag::peer2peer, Flag::change_protection,
                       Flag::undefine_source, Flag::tls}) {
    const FlagSet flags = FlagSet{Flag::live, Flag::compressed, Flag::persist_dest}.with(f);
    CHECK(refuses(says(flags, true), opt(f), kInvalidArg));
  }
}

TEST_CASE("rules: migration URIs") {
  struct Case {
    const char *driver, *uri;
    std::size_t objections;
    std::int32_t code;
  };
  const Case cases[] = {
      {"qemu", "tcp://host2:49152", 0, 0},
      {"qemu", "tcp:host2:49152", 0, 0},
      {"qemu", "tcp://[fe80::1]:49152", 0, 0},
      {"qemu", "rdma://host2", 0, 0},
      {"qemu", "unix:///run/m.sock", 0, 0},
      {"qemu", "unix:run/m.sock", 1, kInvalidArg},
      {"qemu", "exec:cat", 2, kArgumentUnsupported},
      {"qemu", "tcp://", 1, kInvalidArg},
      {"qemu", "tcp://host2:0", 1, kInvalidArg},
      {"qemu", "tcp://host2:70000", 1, kInvalidArg},
      {"qemu", "tcp://[fe80::1", 1, kInvalidArg},
      {"xen", "tcp://host2", 0, 0},
      {"xen", "unix:///x", 1, kOperationFailed},
      {"xen", "tcp:host2:1", 1, kInvalidArg},
      {"vz", "vzmigr://host2", 0, 0},
      {"vz", "tcp://host2", 1, kArgumentUnsupported},
      {"vz", "tcp://me@host2/", 3, kInvalidArg},  // the form is looked at first there
      {"vz-2015", "tcp://host2", 0, 0},
      {"vz-2015", "tcp://host2:64000", 0, 0},
      {"vz-2015", "host2", 1, kInvalidArg},
      {"vz-2015", "vzmigr://host2", 1, kArgumentUnsupported},
      {"vz-2015", "tcp://me@host2", 1, kInvalidArg},
      {"vz-2015", "tcp://host2/", 1, kInvalidArg},
      {"vz-2015", "tcp://host2?x=1", 1, kInvalidArg},
      {"vz-2015", "tcp://host2?", 1, kInvalidArg},
      {"vz-2015", "tcp://host2#f", 1, kInvalidArg},
      {"vz-2015", "tcp://me@/p?q#f", 5, kInvalidArg},
      {"openvz", "ssh://host2", 0, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.driver);
    CAPTURE(c.uri);
    const auto says = check_uri(*find_rules(c.driver), c.uri);
    CHECK(says.size() == c.objections);
    if (!says.empty()) CHECK(says.front().code == c.code);
  }
}

TEST_CASE("rules: a bare host becomes a URI of the driver's first scheme") {
  CHECK(complete_uri(*find_rules("qemu"), "host2") == "tcp://host2");
  CHECK(complete_uri(*find_rules("qemu"), "host2:49155") == "tcp://host2:49155");
  CHECK(complete_uri(*find_rules("qemu"), "fe80::1") == "tcp://[fe80::1]");
  CHECK(complete_uri(*find_rules("qemu"), "tcp:host2:1") == "tcp:host2:1");
  CHECK(complete_uri(*find_rules("vz"), "host2") == "vzmigr://host2");
  CHECK(complete_uri(*find_rules("qemu"), "unix:///s") == "unix:///s");
}

TEST_CASE("rules: found by what a connection says of itself") {
  CHECK(rules_of("QEMU", "qemu:///system").name == "qemu");
  CHECK(rules_of("Xen", "xen:///system").name == "xen");
  CHECK(rules_of("Parallels", "vz:///system").name == "vz");
  CHECK(rules_of("TEST", "test:///default").name == "test");
  CHECK(rules_of("TEST", "test:///default?seed=1&rules=vz-2015").name == "vz-2015");
  CHECK(rules_of("TEST", "test:///default?rules=nonsense").name == "test");
  CHECK(rules_of("QEMU", "qemu:///system?rules=vz").name == "qemu");
  CHECK(rules_of("LXC", "lxc:///").name == "other");
}

TEST_CASE("rules: compression methods and their tuning") {
  const auto says = [](std::initializer_list<Opt> options, const char* methods) {
    Chosen c;
    for (const Opt o : options) c[o] = Choice::yes;
    Params p;
    std::string_view rest = methods;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      p.add("compression", std::string(rest.substr(0, comma)));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    return check_methods(c, p, Source::command).size();
  };
  CHECK(says({Opt::compression}, "xbzrle") == 0);
  CHECK(says({Opt::compression}, "zstd") == 1);
  CHECK(says({Opt::compression, Opt::parallel}, "zstd") == 0);
  CHECK(says({Opt::compression, Opt::parallel}, "zstd,zlib") == 1);
  CHECK(says({Opt::compression, Opt::parallel}, "xbzrle") == 1);
  CHECK(says({Opt::compressed, Opt::parallel}, "") == 1);
  CHECK(says({Opt::compression, Opt::compression_mt_level}, "xbzrle") == 1);
  CHECK(says({Opt::compression_xbzrle_cache}, "") == 0);
  CHECK(says({Opt::compression_xbzrle_cache, Opt::parallel}, "") == 1);
}
