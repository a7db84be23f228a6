#include "cli/complete.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace vmferry;
using namespace vmferry::cli;

static std::vector<std::string> offered(std::vector<std::string> words,
                                        std::string_view uri = "qemu:///system") {
  std::vector<std::string> out;
  for (const Candidate& c : static_candidates(find_slot(words), uri)) out.push_back(c.word);
  return out;
}
static bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

TEST_CASE("complete: where the unfinished word stands") {
  CHECK(find_slot(std::vector<std::string>{"mig"}).kind == Slot::Kind::command);
  CHECK(find_slot(std::vector<std::string>{"nonsense", ""}).kind == Slot::Kind::nothing);
  const std::vector<std::string> value = {"-c", "xen:///system", "domstate", ""};
  const Slot slot = find_slot(value);
  REQUIRE(slot.kind == Slot::Kind::value);
  CHECK(slot.option->name == "domain");
  CHECK(slot.connect == "xen:///system");
  const std::vector<std::string> second = {"migrate", "--live", "web1", "h"};
  CHECK(find_slot(second).option->name == "desturi");
  const std::vector<std::string> attached = {"list", "--output=j"};
  CHECK(find_slot(attached).before == "--output=");
}

TEST_CASE("complete: commands, choices, options") {
  CHECK(offered({"migrate-setm"}) == std::vector<std::string>{"migrate-setmaxdowntime"});
  CHECK(offered({"list", "-o", ""}) == std::vector<std::string>{"text", "json"});
  CHECK(offered({"list", "--al"}) == std::vector<std::string>{"--all"});
  CHECK(offered({"list", "--all", "--al"}).empty());
  CHECK_FALSE(has(offered({""}), "complete"));
}

TEST_CASE("complete: only options that are still allowed") {
  CHECK(has(offered({"migrate", "a", "b", "--"}), "--live"));
  CHECK_FALSE(has(offered({"migrate", "a", "b", "--offline", "--"}), "--live"));
  CHECK_FALSE(
      has(offered({"migrate", "a", "b", "--copy-storage-all", "--"}), "--copy-storage-inc"));
  CHECK(has(offered({"migrate", "a", "b", "--tun"}), "--tunnelled"));
  CHECK_FALSE(has(offered({"migrate", "a", "b", "--tun"}, "vz:///system"), "--tunnelled"));
  CHECK(has(offered({"migrate", "a", "b", "--no-l"}), "--no-live"));
  CHECK_FALSE(has(offered({"migrate", "a", "b", "--"}), "--no-live"));
}

TEST_CASE("complete: hosts that ssh knows") {
  CHECK(known_host_names("# c\nhost2,10.0.0.2 ssh-ed25519 AAAA\n|1|abc=|def= ssh-rsa AAAA\n"
                         "[h]:2222 ssh-rsa A\n*.x ssh-rsa A\n@revoked bad ssh-rsa A\nshort\n") ==
        std::vector<std::string>{"host2", "10.0.0.2"});
  CHECK(ssh_config_hosts("Host a b *.c\n  HostName x\nhost d\n") ==
        std::vector<std::string>{"a", "b", "d"});
}
