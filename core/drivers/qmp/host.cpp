// The connection: what this machine is and can do.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/text.hpp"
#include "core/drivers/qmp/qmp_host.hpp"
#include "core/flags/table.hpp"

namespace vmferry {

namespace {
Task<std::unique_ptr<Host>> open_it(std::string text, QmpEnvironment environment) {
  const ConnectUri uri = value_or_throw(parse_connect_uri(text));
  qmp::Places places = value_or_throw(qmp::places_of(uri, environment.variables));
  std::unique_ptr<Host> host = std::make_unique<qmp::QmpHost>(
      std::move(text), qmp::Store(std::move(places)), std::move(environment));
  co_return host;
}
}  // namespace

Task<std::unique_ptr<Host>> open_qmp(std::string uri, QmpEnvironment environment) {
  return open_it(std::move(uri), std::move(environment));
}

Result<std::string> qmp_domain_xml(std::string_view command_line, std::string name) {
  Result<qmp::Words> words = qmp::split_words(command_line);
  if (!words) return std::unexpected(std::move(words).error());
  return qmp::xml_of_command_line(*std::move(words), std::move(name));
}

namespace qmp {

QmpHost::QmpHost(std::string uri, Store store, QmpEnvironment environment)
    : uri_(std::move(uri)), store_(std::move(store)), env_(std::move(environment)) {}

QmpHost::~QmpHost() {
  abandon_arrivals();
  for (auto& [dir, monitor] : monitors_) monitor.client->close();
}

QmpHost& as_qmp(Host& host) {
  auto* own = dynamic_cast<QmpHost*>(&host);
  if (own == nullptr)
    throw Error(ErrorId::unsupported, "this works on bare QEMU only")
        .advise("Connect with -c qmp:///session or qmp:///system.");
  return *own;
}

Task<HostFeatures> QmpHost::features() {
  HostFeatures f;
  f.v3_params = f.offline = f.change_protection = f.events = true;
  f.p2p = env_.open != nullptr;
  co_return f;
}

Task<HostIdentity> QmpHost::identity() {
  HostIdentity id;
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) name[0] = '\0';
  id.driver = "QMP";
  id.uri = uri_;
  id.library_version = libvirt_version(11, 3, 0);  // whose options the rules of this driver know
  id.hostname = name;
  co_return id;
}

Task<std::string> QmpHost::capabilities() {
  utsname machine{};
  ::uname(&machine);
  co_return fmt::format(
      "<capabilities>\n  <host>\n    <cpu>\n      <arch>{}</arch>\n    </cpu>\n"
      "    <migration_features>\n      <live/>\n      <uri_transports>\n"
      "        <uri_transport>tcp</uri_transport>\n        <uri_transport>unix</uri_transport>\n"
      "      </uri_transports>\n    </migration_features>\n  </host>\n</capabilities>\n",
      machine.machine);
}

Task<std::string> QmpHost::domain_capabilities(std::string, std::string, std::string, std::string) {
  throw Error(ErrorId::unsupported, "bare QEMU has no domain capabilities to show");
  co_return std::string();
}

namespace {
// A line of /proc/meminfo, in KiB.
std::uint64_t meminfo(std::string_view key) {
  const std::string text = read_file("/proc/meminfo").value_or("");
  for (const std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const auto words = split(trimmed(line.substr(key.size() + 1)), ' ');
    return parse_number<std::uint64_t>(words[0]).value_or(0);
  }
  return 0;
}
}  // namespace

Task<NodeInfo> QmpHost::node_info() {
  utsname machine{};
  ::uname(&machine);
  NodeInfo info;
  info.model = machine.machine;
  info.memory_kib = meminfo("MemTotal");
  info.cpus = static_cast<std::int32_t>(::sysconf(_SC_NPROCESSORS_ONLN));
  info.nodes = info.sockets = info.threads = 1;
  info.cores = info.cpus;
  co_return info;
}

Task<std::uint64_t> QmpHost::free_memory() { co_return meminfo("MemAvailable") * 1024; }

Task<> QmpHost::close() {
  for (auto& [dir, monitor] : monitors_) monitor.client->close();
  monitors_.clear();
  jobs_.clear();
  abandon_arrivals();
  co_return;
}

}  // namespace qmp
}  // namespace vmferry
