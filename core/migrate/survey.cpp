#include "core/migrate/survey.hpp"

#include <fmt/format.h>

#include "core/async/race.hpp"

namespace vmferry {

namespace {

// One side's share: the connection, and what is asked over it in as few flights as possible.
struct SideAnswers {
  std::unique_ptr<Host> host;
  HostView view;
  DomainView domain;
};

Task<HostView> ask_host(Host& host, std::string uri) {
  auto [features, identity] = co_await both(host.features(), host.brief_identity());
  co_return view(identity, features, std::move(uri));
}

Task<DomainView> ask_domain(Host& host, std::string name) {
  DomainView view;
  view.ref = co_await host.find(name);
  auto [status, persistent] = co_await both(host.status(view.ref), host.is_persistent(view.ref));
  view.status = status;
  view.persistent = persistent;
  co_return view;
}

Task<SideAnswers> ask_source(Opener open, std::string uri, std::string name) {
  SideAnswers answers;
  answers.host = co_await open(uri);
  auto [domain, seen] =
      co_await both(settle(ask_domain(*answers.host, name)), settle(ask_host(*answers.host, uri)));
  answers.domain = value_or_throw(std::move(domain));
  answers.view = value_or_throw(std::move(seen));
  co_return answers;
}

Task<SideAnswers> ask_destination(Opener open, std::string uri) {
  SideAnswers answers;
  answers.host = co_await open(uri);
  answers.view = co_await ask_host(*answers.host, uri);
  co_return answers;
}

Endpoint endpoint(Side side, const std::string& uri, std::unique_ptr<Host> host, Opener open) {
  return {side, uri, std::move(host), [open = std::move(open), uri] { return open(uri); }};
}

}  // namespace

Task<Survey> survey(Opener open, Request request) {
  const std::string to = value_or_throw(destination_uri(request.source, request.destination));
  auto [source, destination] = co_await both(
      settle(ask_source(open, request.source, request.domain)), settle(ask_destination(open, to)));
  if (!source) {
    Error error = std::move(source).error().at(Side::source);
    if (!destination) error.note(fmt::format("destination: {}", destination.error().message));
    throw error;
  }
  const bool by_source = request[Flag::peer2peer] == Choice::yes || request.direct;
  if (!destination && !by_source) throw std::move(destination).error().at(Side::destination);

  Survey out;
  SideAnswers there;
  std::string trouble;
  if (destination)
    there = *std::move(destination);
  else
    trouble = destination.error().message;
  there.view.uri = to;
  out.resolution = resolve(request, source->view, there.view, source->domain);
  if (!trouble.empty())
    out.resolution.notes.push_back(fmt::format(
        "the destination cannot be reached from here ({}), so what it can do was not asked, and "
        "whether the guest runs there cannot be seen afterwards",
        trouble));
  out.source = endpoint(Side::source, request.source, std::move(source->host), open);
  out.destination = endpoint(Side::destination, to, std::move(there.host), std::move(open));
  co_return out;
}

}  // namespace vmferry
