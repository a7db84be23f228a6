#include "core/drivers/qmp/cookie.hpp"

#include <fmt/format.h>

#include <cstring>

namespace vmferry::qmp {

namespace {

constexpr int kVersion = 1;

Cookie to_bytes(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMostCookie)
    throw Error(ErrorId::unsupported, "the guest's command line is too long for a cookie");
  Cookie out(text.size());
  std::memcpy(out.data(), text.data(), text.size());
  return out;
}

Result<Json> from_bytes(const Cookie& cookie, std::string_view phase) {
  if (cookie.empty() || cookie.size() > kMostCookie)
    return fail(ErrorId::protocol,
                fmt::format("no migration cookie of '{}', or too long a one", phase));
  Result<Json> json = parse_json({reinterpret_cast<const char*>(cookie.data()), cookie.size()});
  if (!json) return json;
  if (text_at(*json, "vmferry") != phase)
    return fail(ErrorId::protocol, fmt::format("the migration cookie is not one of '{}'", phase));
  if (number_at(*json, "version") != kVersion)
    return fail(ErrorId::unsupported,
                fmt::format("the other side speaks version {} of the migration cookie, this one {}",
                            number_at(*json, "version"), kVersion));
  return json;
}

Json head(std::string_view phase, const std::string& migration) {
  return {{"vmferry", phase}, {"version", kVersion}, {"migration", migration}};
}

}  // namespace

Cookie pack(const Offer& o) {
  Json json = head("offer", o.migration);
  json.update({{"xml_check", o.xml_check},
               {"argv", o.argv},
               {"machine", o.machine},
               {"qemu", o.version},
               {"host", o.host},
               {"pid", o.pid},
               {"start", o.start},
               {"shared_ram", o.shared_ram},
               {"transient", o.transient},
               {"directory", o.directory},
               {"pid_file", o.pid_file},
               {"disks", to_json(o.disks)},
               {"network", o.network},
               {"files", o.files}});
  return to_bytes(json);
}

Cookie pack(const Reply& r) {
  Json json = head("reply", r.migration);
  json["hand_over"] = r.hand_over;
  json["whole"] = r.whole;
  json["disk_server"] = r.disk_server;
  json["beside"] = r.beside;
  json["run"] = r.run;
  json["state"] = r.state;
  json["graphics"] = r.graphics;
  return to_bytes(json);
}

Cookie pack(const Copied& c) {
  Json json = head("copied", c.migration);
  json["stopped_at"] = c.stopped_at;
  json["postcopy"] = c.postcopy;
  json["host"] = c.host;
  Json stats = Json::object();
  for (const TypedParam& p : c.stats.fields.items)
    if (const auto* value = std::get_if<std::uint64_t>(&p.value)) stats[p.field] = *value;
  json["stats"] = std::move(stats);
  return to_bytes(json);
}

Result<Offer> unpack_offer(const Cookie& cookie) {
  Result<Json> json = from_bytes(cookie, "offer");
  if (!json) return std::unexpected(std::move(json).error());
  Offer o;
  o.migration = text_at(*json, "migration");
  o.xml_check = text_at(*json, "xml_check");
  const Json& argv = at(*json, "argv");
  if (argv.is_array() && argv.size() <= 4096)
    for (const Json& word : argv)
      if (word.is_string()) o.argv.push_back(word.get<std::string>());
  o.machine = text_at(*json, "machine");
  o.version = text_at(*json, "qemu");
  o.host = text_at(*json, "host");
  o.pid = static_cast<std::int32_t>(number_at(*json, "pid", -1));
  o.start = static_cast<std::uint64_t>(number_at(*json, "start"));
  o.shared_ram = static_cast<std::uint64_t>(number_at(*json, "shared_ram"));
  o.transient = flag_at(*json, "transient");
  o.directory = text_at(*json, "directory", "/");
  o.pid_file = text_at(*json, "pid_file");
  o.disks = disks_from(at(*json, "disks"));
  o.network = text_at(*json, "network");
  o.files = text_at(*json, "files");
  return o;
}

Result<Reply> unpack_reply(const Cookie& cookie) {
  Result<Json> json = from_bytes(cookie, "reply");
  if (!json) return std::unexpected(std::move(json).error());
  const Json& hand_over = at(*json, "hand_over");
  if (!hand_over.is_boolean())
    return fail(ErrorId::protocol, "the migration cookie does not say how memory moves");
  return Reply{.migration = text_at(*json, "migration"),
               .hand_over = hand_over.get<bool>(),
               .whole = flag_at(*json, "whole"),
               .disk_server = at(*json, "disk_server"),
               .beside = flag_at(*json, "beside"),
               .run = text_at(*json, "run"),
               .state = text_at(*json, "state"),
               .graphics = at(*json, "graphics")};
}

Result<Copied> unpack_copied(const Cookie& cookie) {
  Result<Json> json = from_bytes(cookie, "copied");
  if (!json) return std::unexpected(std::move(json).error());
  Copied c;
  c.migration = text_at(*json, "migration");
  c.stopped_at = number_at(*json, "stopped_at");
  c.host = text_at(*json, "host");
  c.postcopy = flag_at(*json, "postcopy");
  c.stats.type = JobType::completed;
  const Json& stats = at(*json, "stats");
  if (stats.is_object() && stats.size() <= 256)
    for (const auto& [field, value] : stats.items())
      if (value.is_number()) c.stats.fields.add(field, value.get<std::uint64_t>());
  return c;
}

std::string check_of(std::string_view xml) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : xml) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3ULL;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace vmferry::qmp
