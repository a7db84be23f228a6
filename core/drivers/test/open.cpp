#include "core/drivers/test/open.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/base/text.hpp"
#include "core/base/uri.hpp"
#include "core/xml/doc.hpp"

namespace vmferry::sim {

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorId::not_found, fmt::format("cannot read {}", escaped(path)));
  std::string text(xml::kMostBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::uint64_t seed_of(const Uri& uri, std::uint64_t otherwise) {
  const auto text = uri.param("seed");
  if (!text) return otherwise;
  const auto seed = parse_number<std::uint64_t>(*text);
  if (!seed) throw Error(ErrorId::uri_invalid, "seed= is no number");
  return *seed;
}

double speed_of(const Uri& uri) {
  const auto text = uri.param("speed");
  if (!text) return 1;
  const double speed = std::strtod(text->c_str(), nullptr);
  if (!(speed >= 0.001 && speed <= 1e6))
    throw Error(ErrorId::uri_invalid, "speed= is no number from 0.001 to 1000000");
  return speed;
}

void follow(HostState& host, const Uri& uri) {
  if (const auto rules = uri.param("rules")) {
    const DriverRules* const found = find_rules(*rules);
    if (!found)
      throw Error(ErrorId::uri_invalid,
                  fmt::format("rules={}: no such driver", escaped(*rules, 64)));
    host.rules = found;
  }
  if (const auto address = uri.param("address")) host.spec.address = *address;
  if (const auto model = uri.param("model")) {
    if (*model != "libvirt" && *model != "ours")
      throw Error(ErrorId::uri_invalid, "model= is neither libvirt nor ours");
    host.spec.record = *model == "ours";
  }
}

}  // namespace

// The world of a URI, and in `host` the name of its host.
std::shared_ptr<World> TestDriver::world_for(const Uri& uri, std::string& host) {
  const bool file = uri.path.ends_with(".xml");
  const std::string key = file ? uri.path : "";
  host = uri.path.empty() ? "" : uri.path.substr(1);
  if (host.empty() || host == "system" || host == "session") host = "default";
  if (!file)
    for (const auto& [name, world] : worlds_)
      if (world->host(host)) return world;
  auto& world = worlds_[key];
  if (!world) {
    WorldSpec spec = file ? value_or_throw(parse_world(read_file(uri.path))) : default_world();
    spec.seed = seed_of(uri, spec.seed);
    world = World::make(clock_, std::move(spec));
    world->speed = speed_of(uri);
    world->opener = opener_;
    world->network = network_;
  }
  if (file) host = uri.param("host").value_or(world->hosts().begin()->first);
  return world;
}

Task<std::unique_ptr<Host>> TestDriver::open(std::string text) {
  const Uri uri = value_or_throw(parse_uri(text));
  std::string name;
  const auto world = world_for(uri, name);
  HostState* const host = world->host(name);
  if (!host) {
    std::vector<std::string> names;
    for (const auto& [known, state] : world->hosts()) names.push_back(known);
    throw Error(ErrorId::connect_failed,
                fmt::format("there is no simulated host '{}'; there are: {}", escaped(name, 64),
                            joined(names, ", ")))
        .advise("Name one of these, or describe hosts of your own: test:///PATH.xml?host=NAME.");
  }
  follow(*host, uri);
  co_return world->connect(name, text);
}

}  // namespace vmferry::sim
