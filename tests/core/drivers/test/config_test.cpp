// Worlds from XML: the shipped example, limits, and what hostile files say.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "core/drivers/test/world.hpp"

namespace vmferry::sim {
namespace {

std::string guest(std::string_view name, std::string_view more = "") {
  return fmt::format(
      "<guest><domain type='test'><name>{}</name><memory unit='MiB'>64</memory><metadata>"
      "<sim:guest xmlns:sim='urn:vmferry:sim' {}/></metadata></domain></guest>",
      name, more);
}

bool accepted(const std::string& inside, const std::string& attributes = "") {
  return parse_world("<world " + attributes + ">" + inside + "</world>").has_value();
}

TEST_CASE("worlds: the shipped example") {
  std::ifstream file(VMFERRY_TESTS_DIR "/../share/examples/world.xml");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto world = parse_world(text);
  REQUIRE(world);
  REQUIRE(world->hosts.size() == 2);
  CHECK(world->hosts[0].name == "left");
  CHECK(world->hosts[0].cells == 2);
  CHECK(world->hosts[0].guests.size() == 2);
  CHECK(world->hosts[0].started == std::vector{true, false});
  CHECK(world->seed == 7);
  CHECK(world->link.latency == Micros(500));
}

TEST_CASE("worlds: what must be there, and limits") {
  CHECK(accepted("<host name='a'/>"));
  CHECK_FALSE(accepted(""));
  CHECK_FALSE(parse_world("<other/>"));
  CHECK_FALSE(parse_world("not xml"));
  CHECK_FALSE(accepted("<host/>"));
  CHECK_FALSE(accepted("<host name='a'/><host name='a'/>"));
  CHECK_FALSE(accepted("<host name='a' driver='nonsense'/>"));
  CHECK_FALSE(accepted("<host name='a' protocol='4'/>"));
  CHECK(accepted("<host name='a' protocol='1'/>"));
  CHECK_FALSE(accepted("<host name='a' lowest-version='3' highest-version='1'/>"));
  CHECK_FALSE(accepted("<host name='a' cpus='0'/>"));
  CHECK_FALSE(accepted("<host name='a' cells='65'/>"));
  CHECK_FALSE(accepted("<host name='a' memory='-1'/>"));
  CHECK_FALSE(accepted("<host name='a' memory='99999999999999999999'/>"));
  CHECK_FALSE(accepted("<host name='a'/>", "seed='x'"));
  CHECK_FALSE(accepted("<link latency-us='1e9'/><host name='a'/>"));
  std::string many;
  for (int i = 0; i < 257; ++i) many += fmt::format("<host name='h{}'/>", i);
  CHECK_FALSE(accepted(many));
}

TEST_CASE("worlds: guests") {
  const auto host = [](const std::string& inside) {
    return accepted("<host name='a'>" + inside + "</host>");
  };
  CHECK(host(guest("one") + guest("two")));
  CHECK_FALSE(host(guest("one") + guest("one")));
  CHECK_FALSE(host("<guest/>"));
  CHECK_FALSE(host("<guest><domain type='test'><name>x</name></domain></guest>"));
  CHECK_FALSE(host(guest("one", "pages='0'")));
  CHECK_FALSE(host(guest("one", "pages='65537'")));
  CHECK_FALSE(host(guest("one", "page-size='7'")));
  CHECK_FALSE(host(guest("one", "dirty-rate='many'")));
  // Each is within its limits; all together they would fill the memory of this machine.
  std::string heavy;
  for (int i = 0; i < 3; ++i)
    heavy += guest(fmt::format("g{}", i), "pages='65536' page-size='4096'");
  CHECK_FALSE(host(heavy));
}

TEST_CASE("worlds: entities, and depth") {
  CHECK_FALSE(parse_world("<!DOCTYPE world [<!ENTITY x 'y'>]><world><host name='&x;'/></world>"));
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "<host name='a'>";
  CHECK_FALSE(accepted(deep));
}

TEST_CASE("worlds: a guest is the same from the same text, whatever was read before") {
  const std::string xml =
      "<domain type='test'><name>vm</name><uuid>5a1b2c3d-0000-4000-8000-000000000001</uuid>"
      "<memory unit='MiB'>8</memory></domain>";
  const auto first = parse_guest(xml, 1);
  const auto other = parse_guest(xml, 2);
  const auto again = parse_guest(xml, 1);
  REQUIRE((first && other && again));
  CHECK(first->shape == again->shape);
  CHECK(first->shape.seed != other->shape.seed);
  const std::string unnamed = "<domain type='test'><name>vm</name><memory>8</memory></domain>";
  CHECK(parse_guest(unnamed, 1)->uuid != parse_guest(unnamed, 2)->uuid);
}

}  // namespace
}  // namespace vmferry::sim
