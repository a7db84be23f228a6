#include "core/migrate/resolve.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/text.hpp"
#include "core/migrate/draft.hpp"
#include "core/migrate/resolver.hpp"

namespace vmferry {

HostView view(const HostIdentity& identity, const HostFeatures& features, std::string uri) {
  return {identity.driver, std::move(uri), identity.hostname, identity.library_version, features};
}

namespace {

/// Simulated hosts live in this process; no ssh leads to them.
std::string simulated_uri(ConnectUri like, std::string_view host) {
  if (!like.uri.path.ends_with(".xml")) {
    like.uri.path = fmt::format("/{}", host);
    return like.to_string();
  }
  std::erase_if(like.uri.query, [](const Uri::Param& p) { return p.name == "host"; });
  like.uri.query.push_back({"host", std::string(host)});
  return like.to_string();
}

}  // namespace

Result<std::string> destination_uri(std::string_view source_uri, std::string_view destination) {
  if (!is_bare_host(destination)) {
    const std::size_t colon = destination.find(':');
    const bool host_and_name = colon != std::string_view::npos && colon != 0 &&
                               colon + 1 < destination.size() && !destination.contains('/');
    if (host_and_name)
      return fail(ErrorId::uri_invalid,
                  fmt::format("{} is neither a host, nor host:port, nor a URI; if host:domain is "
                              "meant, give the host {} alone, and the new name with --dname {}",
                              escaped(destination, 255), escaped(destination.substr(0, colon), 255),
                              escaped(destination.substr(colon + 1), 255)));
    const auto checked = parse_connect_uri(destination);
    if (!checked) return std::unexpected(checked.error());
    return std::string(destination);
  }
  const auto like = parse_connect_uri(source_uri);
  if (!like) return std::unexpected(like.error());
  if (like->driver == "test" && like->transport == Transport::none && like->uri.host.empty())
    return simulated_uri(*like, destination);
  const auto made = on_host(*like, destination);
  if (!made) return std::unexpected(made.error());
  return made->to_string();
}

Resolution resolve(const Request& request, const HostView& source, const HostView& destination,
                   const DomainView& domain) {
  return Resolver(request, source, destination, domain).run();
}

Resolver::Resolver(const Request& request, const HostView& source, const HostView& destination,
                   const DomainView& domain)
    : source_(source),
      destination_(destination),
      domain_(domain),
      rules_(rules_of(source.type, source.uri)),
      active_(domain.status.active()),
      chosen_(chosen(request)) {
  out_.asked = request;
  out_.rules = rules_.name;
  out_.plan.domain = domain.ref;
  out_.plan.active = domain.status.active();
  out_.plan.params = request.params;
  out_.plan.source_uri = source.uri;
  out_.plan.destination_uri = destination.uri;
  out_.plan.timeout = request.timeout;
  out_.plan.departs = rules_.departs;
  out_.plan.postcopy_after_precopy = request.postcopy_after_precopy;
  if (request.max_freeze) out_.plan.max_freeze = *request.max_freeze;
}

Resolution Resolver::run() && {
  choose_kind();
  check_hosts();
  fill_defaults();
  check_relations_now();
  check_driver();
  check_state();
  check_features();
  check_protocol();
  check_uris();
  fill_protection();
  set_flags();
  describe_steps();
  describe_data();
  describe_end();
  add_notes();
  return std::move(out_);
}

void Resolver::fill(Opt option, std::string rule, std::string reason, bool sent) {
  chosen_[option] = Choice::yes;
  out_.filled.push_back({option, option_text(option), std::move(rule), std::move(reason), sent});
}

Objection& Resolver::object(Source source, std::optional<Opt> option, std::int32_t code,
                            std::string reason, std::string remedy) {
  Objection o{source, option, {}, std::move(reason), std::move(remedy), code};
  o.rule = source == Source::driver || source == Source::release ? rules_.name : "common";
  return out_.objections.emplace_back(std::move(o));
}

bool Resolver::was_filled(Opt option) const {
  return std::ranges::any_of(out_.filled, [option](const Filled& f) { return f.option == option; });
}

namespace {

std::string host_of(const HostView& host, std::string_view otherwise) {
  if (!host.hostname.empty()) return escaped(host.hostname, 255);
  const auto uri = parse_connect_uri(host.uri);
  return uri && !uri->uri.host.empty() ? uri->uri.host : std::string(otherwise);
}

}  // namespace

std::string Resolver::source_name() const { return host_of(source_, "the source"); }
std::string Resolver::destination_name() const { return host_of(destination_, "the destination"); }

Error Resolution::error() const {
  const bool typed_wrong = std::ranges::all_of(
      objections, [](const Objection& o) { return o.source == Source::command; });
  Error error(typed_wrong ? ErrorId::usage : ErrorId::refused,
              objections.empty() ? std::string() : objections.front().reason);
  if (objections.empty()) return error;
  error.remedy = objections.front().remedy;
  error.side = objections.front().side;
  error.wire.code = 0;
  for (std::size_t i = 1; i < objections.size(); ++i) error.note(objections[i].reason);
  return error;
}

}  // namespace vmferry
