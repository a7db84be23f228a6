#include "core/drivers/qmp/graphics.hpp"

#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/base/text.hpp"
#include "core/base/uri.hpp"

namespace vmferry::qmp {

namespace {
constexpr Micros kLeave = std::chrono::seconds(5);

void set_port(Json& target, const char* field, std::int64_t port) {
  if (port > 0 && port <= 65535) target[field] = port;
}
}  // namespace

// A QEMU without spice does not know the question.
Task<Json> spice_server(Client& client, std::string host) {
  const auto asked = co_await settle(client.execute("query-spice"));
  if (!asked || !flag_at(*asked, "enabled")) co_return Json();
  const std::string listens = text_at(*asked, "host");
  const bool everywhere = listens.empty() || listens == "*" || listens == "0.0.0.0" ||
                          listens == "::" || listens == "unknown";
  Json target = {{"protocol", "spice"}, {"hostname", everywhere ? host : listens}};
  set_port(target, "port", number_at(*asked, "port"));
  set_port(target, "tls-port", number_at(*asked, "tls-port"));
  if (!target.contains("port") && !target.contains("tls-port")) co_return Json();  // a unix socket
  co_return target;
}

Json spice_target(const std::string& text) {
  const Uri uri = value_or_throw(parse_uri(text));
  const auto tls = parse_number<std::uint16_t>(uri.param("tlsPort").value_or("0"));
  if (uri.scheme != "spice" || uri.host.empty() || !tls || (uri.port == 0 && *tls == 0))
    throw Error(ErrorId::uri_invalid,
                fmt::format("graphics clients cannot be sent to '{}'", escaped(text, 200)))
        .advise("QEMU takes spice://HOST:PORT, with ?tlsPort=N and tlsSubject=TEXT for TLS.");
  Json target = {{"protocol", "spice"}, {"hostname", uri.host}};
  set_port(target, "port", uri.port);
  set_port(target, "tls-port", *tls);
  if (const auto subject = uri.param("tlsSubject")) target["cert-subject"] = *subject;
  return target;
}

Task<bool> tell_clients(Client& source, Json target) {
  const auto own = co_await settle(source.execute("query-spice"));
  if (!own || !flag_at(*own, "enabled")) co_return false;
  co_await source.execute("client_migrate_info", std::move(target));
  co_return true;
}

Task<> clients_left(Client& source, Clock& clock, Cursor since) {
  const auto left = [](const Event& e) { return e.name == "SPICE_MIGRATE_COMPLETED"; };
  Task<Event> waiting = source.wait_event(since, left);
  Task<std::optional<Event>> limited = within(clock, kLeave, std::move(waiting));
  co_await settle(std::move(limited));
}

}  // namespace vmferry::qmp
