#pragma once
// A domain as this driver keeps it: libvirt's XML (https://libvirt.org/formatdomain.html), of which
// a subset becomes QEMU's command line, or a command line that the user wrote.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/drivers/qmp/command_line.hpp"
#include "core/host/domain.hpp"

namespace vmferry::qmp {

struct Definition {
  std::string name;
  Uuid uuid;
  std::string xml;  ///< complete: with name and UUID
  Words argv;       ///< without monitors; RAM is shareable unless `private_ram`
  std::uint64_t memory_kib = 0;
  std::uint32_t vcpus = 1;
  bool private_ram = false;  ///< the user asked for it (<access mode="private"/>)
};

/// Errors: xml; unsupported, naming every element that this driver cannot do, so that none is
/// silently dropped. A missing UUID is made.
Result<Definition> read_definition(std::string_view xml);

/// The XML of a domain that is given by its QEMU command line: the words stand in its metadata, in
/// a namespace of our own. Name and UUID are taken from -name and -uuid unless given.
/// Errors: usage (no name), unsupported (not_startable).
Result<std::string> xml_of_command_line(Words argv, std::string name);

/// The same domain under another name.
Result<Definition> renamed(const Definition& definition, const std::string& name);

Uuid random_uuid();

}  // namespace vmferry::qmp
