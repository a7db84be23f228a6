#include "core/drivers/qmp/definition.hpp"

#include <fmt/format.h>

#include <random>

#include "core/base/text.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/domain_devices.hpp"
#include "core/xml/domain.hpp"

namespace vmferry::qmp {

namespace {

constexpr std::string_view kSpace = "urn:vmferry:qmp:1";

// A name becomes part of file names and of QEMU's own options.
Result<> check_name(const std::string& name) {
  const bool bad = name.empty() || name.size() > 255 || name[0] == '.' ||
                   name.find('/') != std::string::npos || escaped(name) != name;
  if (bad)
    return fail(ErrorId::xml, fmt::format("'{}' cannot be a domain's name", escaped(name, 300)));
  return {};
}

Words words_in(const xml::Node& list) {
  Words out;
  for (const xml::Node& word : list.children("arg")) out.push_back(word.get("value"));
  return out;
}

std::string program_for(const xml::Domain& domain) {
  if (!domain.emulator.empty()) return domain.emulator;
  return "qemu-system-" + (domain.arch.empty() ? std::string("x86_64") : domain.arch);
}

Result<Words> words_of(const xml::Doc& doc, const xml::Domain& domain) {
  const xml::Node own = doc.root().at("metadata/command-line");
  if (own && own.children("arg").size() > 0) {
    Words argv = words_in(own);
    const std::vector<std::string> objections = not_startable(argv);
    if (!objections.empty()) return fail(ErrorId::unsupported, joined(objections, "; "));
    return argv;
  }
  Words argv = {program_for(domain)};
  DeviceWords devices = device_words(doc.root(), domain);
  if (!devices.unsupported.empty())
    return std::unexpected(
        Error(ErrorId::unsupported, fmt::format("bare QEMU is not given these parts of the XML: {}",
                                                joined(devices.unsupported, "; ")))
            .advise("Remove them, write them as <qemu:commandline>, or define the domain by its "
                    "QEMU command line (define --argv)."));
  argv.insert(argv.end(), devices.words.begin(), devices.words.end());
  for (const std::string& word : words_in(doc.root().at("commandline"))) argv.push_back(word);
  return argv;
}

}  // namespace

Uuid random_uuid() {
  std::random_device random;
  Uuid uuid;
  for (std::byte& b : uuid.bytes) b = static_cast<std::byte>(random());
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

Result<Definition> read_definition(std::string_view text) {
  Result<xml::Doc> doc = xml::Doc::parse(text);
  if (!doc) return std::unexpected(doc.error());
  const Result<xml::Domain> domain = xml::read_domain(*doc);
  if (!domain) return std::unexpected(domain.error());
  const Result<> sound = check_name(domain->name);
  if (!sound) return std::unexpected(sound.error());
  Definition out;
  out.name = domain->name;
  out.uuid = domain->uuid.value_or(random_uuid());
  if (!domain->uuid) doc->root().add("uuid").set_text(to_string(out.uuid));
  Result<Words> argv = words_of(*doc, *domain);
  if (!argv) return std::unexpected(std::move(argv).error());
  out.argv = *std::move(argv);
  set_identity(out.argv, out.name, to_string(out.uuid));
  out.memory_kib = ram_of(out.argv).bytes / kKiB;
  out.vcpus = std::max(domain->vcpus, 1U);
  out.private_ram = doc->root().at("memoryBacking/access").get("mode") == "private";
  out.xml = doc->to_string();
  return out;
}

Result<std::string> xml_of_command_line(Words argv, std::string name) {
  const std::vector<std::string> objections = not_startable(argv);
  if (!objections.empty()) return fail(ErrorId::unsupported, joined(objections, "; "));
  const std::string given = value_of(argv, "name").value_or("");
  if (name.empty()) name = sub_option(given, "guest").value_or(sub_option(given, "").value_or(""));
  if (name.empty())
    return fail(ErrorId::usage, "the command line has no -name; give one with --name");
  const auto uuid = parse_uuid(value_of(argv, "uuid").value_or(""));
  const Result<> sound = check_name(name);
  if (!sound) return std::unexpected(sound.error());
  xml::Doc doc = xml::Doc::make("domain");
  xml::Node root = doc.root();
  root.set("type", has_option(argv, "enable-kvm") ? "kvm" : "qemu");
  root.add("name").set_text(name);
  root.add("uuid").set_text(to_string(uuid.value_or(random_uuid())));
  xml::Node memory = root.add("memory");
  memory.set("unit", "KiB");
  memory.set_text(fmt::format("{}", ram_of(argv).bytes / kKiB));
  const std::string smp = value_of(argv, "smp").value_or("1");
  root.add("vcpu").set_text(sub_option(smp, "cpus").value_or(sub_option(smp, "").value_or("1")));
  xml::Node type = root.add("os").add("type");
  type.set("arch", "x86_64");
  type.set_text("hvm");
  xml::Node list = root.add("metadata").add("command-line");
  list.set("xmlns", std::string(kSpace));
  for (const std::string& word : argv) list.add("arg").set("value", word);
  root.add("devices").add("emulator").set_text(argv[0]);
  return doc.to_string();
}

Result<Definition> renamed(const Definition& definition, const std::string& name) {
  Result<xml::Doc> doc = xml::Doc::parse(definition.xml);
  if (!doc) return std::unexpected(doc.error());
  doc->root().at("name").set_text(name);
  return read_definition(doc->to_string());
}

}  // namespace vmferry::qmp
