#include "cli/connect.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>

using namespace vmferry;
using namespace vmferry::cli;

static Environment environment(std::map<std::string, std::string> values) {
  return [values](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

TEST_CASE("connection URI: who wins") {
  ClientConfig config;
  config.uri_default = "far";
  config.uri_aliases = {{"far", "qemu+ssh://far/system"}};
  const auto both = environment({{"VMFERRY_URI", "far"}, {"LIBVIRT_DEFAULT_URI", "xen:///system"}});
  CHECK(named_uri("test:///x", both, config) == "test:///x");
  CHECK(named_uri("", both, config) == "qemu+ssh://far/system");
  CHECK(named_uri("", environment({{"LIBVIRT_DEFAULT_URI", "xen:///system"}}), config) ==
        "xen:///system");
  CHECK(named_uri("", environment({}), config) == "qemu+ssh://far/system");
  CHECK(named_uri("", environment({}), ClientConfig{}).empty());
}

TEST_CASE("connection URI: what is found on this machine") {
  const auto with = [](std::set<std::string> files, bool root) {
    const auto env = environment({{"XDG_RUNTIME_DIR", "/run/user/7"}});
    return local_uri(env, root, [&](const std::string& p) { return files.contains(p); });
  };
  CHECK(*with({"/run/libvirt/libvirt-sock"}, true) == "qemu:///system");
  CHECK(*with({"/run/libvirt/libvirt-sock", "/proc/xen/capabilities"}, true) == "xen:///system");
  CHECK(*with({"/run/libvirt/virtchd-sock"}, true) == "ch:///system");
  CHECK(*with({"/run/user/7/libvirt/virtqemud-sock"}, false) == "qemu:///session");
  const auto none = with({}, true);
  REQUIRE_FALSE(none);
  CHECK(none.error().id == ErrorId::connect_failed);
  CHECK(none.error().remedy_text().contains("test:///default"));
}
