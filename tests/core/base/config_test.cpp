#include "core/base/config.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

using namespace vmferry;

TEST_CASE("config: libvirt.conf") {
  const auto config = parse_client_config(
      "# a comment\nuri_default = \"qemu:///system\"  # why\nremote_mode = 'auto'\nnumber = 5\n"
      "uri_aliases = [\n  \"hail=qemu+ssh://root@hail/system\",\n  # in between\n"
      "  'sleet=qemu+ssh://sleet/system',\n]\n",
      "libvirt.conf");
  REQUIRE(config);
  CHECK(config->uri_default == "qemu:///system");
  CHECK(config->alias("hail") == "qemu+ssh://root@hail/system");
  CHECK(config->alias("sleet") == "qemu+ssh://sleet/system");
  CHECK_FALSE(config->alias("rain"));
}

TEST_CASE("config: mistakes name file and line") {
  const auto message = [](std::string_view text) {
    const auto config = parse_client_config(text, "f");
    return config ? std::string("fine") : config.error().message;
  };
  CHECK(message("\n\nuri_default qemu") == "f:3: expected \"name = value\"");
  CHECK(message("a = \"x") == "f:1: a string without its closing quote");
  CHECK(message("a = [ \"x\" \"y\" ]") == "f:1: expected \",\" or \"]\" in a list");
  CHECK(message("a = [ \"x\"") == "f:1: expected \",\" or \"]\" in a list");
  CHECK(message("a = oops") == "f:1: expected a string, a number or a list");
  CHECK(message("uri_aliases = [ \"=x\" ]").find("not of the form") != std::string::npos);
  CHECK(message("") == "fine");
}

TEST_CASE("config: the user's file goes before the system's, root has only the latter") {
  namespace fs = std::filesystem;
  const fs::path dir = fs::temp_directory_path() / ("vmferry-config-" + std::to_string(getpid()));
  fs::create_directories(dir / "user/libvirt");
  std::ofstream(dir / "system.conf")
      << "uri_default = \"xen:///system\"\nuri_aliases = [\"a=b://c\"]";
  const Environment env = [&](const std::string& name) -> std::optional<std::string> {
    if (name == "XDG_CONFIG_HOME") return (dir / "user").string();
    return {};
  };
  const std::string system = (dir / "system.conf").string();
  CHECK(load_client_config(env, false, system)->uri_default == "xen:///system");
  std::ofstream(dir / "user/libvirt/libvirt.conf") << "uri_default = \"ch:///session\"";
  CHECK(load_client_config(env, false, system)->uri_default == "ch:///session");
  CHECK(load_client_config(env, false, system)->alias("a") == "b://c");
  CHECK(load_client_config(env, true, system)->uri_default == "xen:///system");
  CHECK_FALSE(load_client_config(env, true, (dir / "none").string())->uri_default);
  fs::remove_all(dir);
}

TEST_CASE("config: which URI is used") {
  std::map<std::string, std::string> variables;
  const Environment env = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  ClientConfig config;
  CHECK(choose_uri("", config, env, true) == "qemu:///system");
  CHECK(choose_uri("", config, env, false) == "qemu:///session");
  config.uri_default = "xen:///system";
  config.uri_aliases = {{"hail", "qemu+ssh://hail/system"}};
  CHECK(choose_uri("", config, env, true) == "xen:///system");
  variables["LIBVIRT_DEFAULT_URI"] = "ch:///system";
  CHECK(choose_uri("", config, env, true) == "ch:///system");
  variables["VMFERRY_URI"] = "hail";
  CHECK(choose_uri("", config, env, true) == "qemu+ssh://hail/system");
  CHECK(choose_uri("test:///default", config, env, true) == "test:///default");
}
