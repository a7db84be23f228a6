#include "core/drivers/qmp/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/async/race.hpp"
#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

using Table = Shape::Table;

// `info ramblock` is the only way to see them: name, page size, offset, used, total, ….
Task<Table> ram_blocks(Client& client) {
  Json what = {{"command-line", "info ramblock"}};
  const Json answer = co_await client.execute("human-monitor-command", std::move(what));
  Table out;
  const std::string text = answer.is_string() ? answer.get<std::string>() : "";
  for (const std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> words;
    for (const std::string_view word : split(trimmed(line), ' '))
      if (!word.empty()) words.push_back(word);
    // NAME PSIZE "KiB" OFFSET USED TOTAL
    if (words.size() >= 6 && words[3].starts_with("0x")) out[std::string(words[0])] = words[4];
  }
  co_return out;
}

Task<Table> devices(Client& client) {
  Table out;
  for (const char* path : {"/machine/peripheral", "/machine/peripheral-anon"}) {
    Json what = {{"path", path}};
    const Json list = co_await client.execute("qom-list", std::move(what));
    if (!list.is_array()) continue;
    for (const Json& entry : list) {
      const std::string type = text_at(entry, "type");
      if (type.starts_with("child<")) out[text_at(entry, "name")] = type;
    }
  }
  co_return out;
}

// Of the first CPU; x86 only, nothing elsewhere.
Task<std::map<std::string, std::uint64_t>> cpu_features(Client& client) {
  std::map<std::string, std::uint64_t> out;
  Json what = {{"path", "/machine/unattached/device[0]"}, {"property", "feature-words"}};
  Task<Json> asking = client.execute("qom-get", std::move(what));
  const auto words = co_await settle(std::move(asking));
  if (!words && words.error().id != ErrorId::remote) throw Error(words.error());
  if (!words || !words->is_array()) co_return out;
  for (const Json& word : *words) {
    const std::string key =
        fmt::format("{:#x}/{}/{}", number_at(word, "cpuid-input-eax"),
                    number_at(word, "cpuid-input-ecx"), text_at(word, "cpuid-register"));
    out[key] = static_cast<std::uint64_t>(number_at(word, "features"));
  }
  co_return out;
}

void compare(const Table& here, const Table& there, std::string_view what,
             std::vector<std::string>& out) {
  for (const auto& [name, value] : here) {
    const auto other = there.find(name);
    if (other == there.end())
      out.push_back(fmt::format("{} {} is missing in the new process", what, escaped(name)));
    else if (other->second != value)
      out.push_back(fmt::format("{} {} is {} here and {} there", what, escaped(name),
                                escaped(value), escaped(other->second)));
  }
  for (const auto& [name, value] : there)
    if (!here.contains(name))
      out.push_back(fmt::format("{} {} is in the new process only", what, escaped(name)));
}

}  // namespace

Task<Shape> shape_of(Client& client) {
  Shape out;
  auto [tables, words] =
      co_await both(both(ram_blocks(client), devices(client)), cpu_features(client));
  out.ram = std::move(tables.first);
  out.devices = std::move(tables.second);
  out.cpu = std::move(words);
  co_return out;
}

std::vector<std::string> differences(const Shape& running, const Shape& waiting) {
  std::vector<std::string> out;
  compare(running.ram, waiting.ram, "the memory block", out);
  compare(running.devices, waiting.devices, "the device", out);
  for (const auto& [key, bits] : running.cpu) {
    const auto other = waiting.cpu.find(key);
    const std::uint64_t lost = bits & ~(other == waiting.cpu.end() ? 0 : other->second);
    if (lost != 0)
      out.push_back(
          fmt::format("CPU features {:#x} of CPUID {} are missing in the new process", lost, key));
  }
  return out;
}

Task<std::vector<std::string>> machine_types(Client& client, const std::string& like) {
  const std::string family = like.substr(0, like.rfind('-') + 1);
  const Json list = co_await client.execute("query-machines");
  std::vector<std::string> out;
  if (!list.is_array()) co_return out;
  for (const Json& entry : list) {
    const std::string name = text_at(entry, "name");
    if (!family.empty() && name.starts_with(family)) out.push_back(escaped(name, 100));
  }
  // 2.9 before 2.10.
  std::ranges::sort(out, {}, [](const std::string& name) { return std::pair(name.size(), name); });
  co_return out;
}

}  // namespace vmferry::qmp
