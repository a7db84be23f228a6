#include "core/migrate/survey.hpp"

#include <fmt/format.h>

#include "core/async/race.hpp"
#include "core/migrate/draft.hpp"

namespace vmferry {

namespace {

// One side's share: the connection, and what is asked over it in as few flights as possible.
struct SideAnswers {
  std::unique_ptr<Host> host;
  HostView view;
  DomainView domain;
};

// What the command line makes worth asking. Options as old as the protocol's newest version
// (libvirt 1.1.0) need no look at the release.
HostNeeds needs_of(const Request& request) {
  const Chosen said = chosen(request);
  HostNeeds needs{.p2p = said.yes(Opt::peer2peer),
                  .direct = said.yes(Opt::direct),
                  .offline = said.yes(Opt::offline),
                  .release = false};
  for (const OptRow& r : opt_rows())
    if (said.yes(r.id) && r.since > libvirt_version(1, 1, 0)) needs.release = true;
  return needs;
}

HostView seen(const HostBrief& brief, std::string uri) {
  return view(brief.identity, brief.features, std::move(uri));
}

Task<SideAnswers> ask_source(Opener open, Request request) {
  SideAnswers answers;
  answers.host = co_await open(request.source);
  const bool reason = request[Flag::postcopy_resume] == Choice::yes;
  Task<FoundDomain> looking = answers.host->look_up(request.domain, reason);
  auto [found, brief] =
      co_await both(settle(std::move(looking)), settle(answers.host->brief(needs_of(request))));
  if (!found) throw std::move(found).error();
  answers.domain = {found->domain, found->status, found->persistent};
  answers.view = seen(value_or_throw(std::move(brief)), request.source);
  co_return answers;
}

Task<SideAnswers> ask_destination(Opener open, Request request, std::string uri) {
  SideAnswers answers;
  answers.host = co_await open(uri);
  const HostBrief brief = co_await answers.host->brief(needs_of(request));
  answers.view = seen(brief, std::move(uri));
  co_return answers;
}

// Whether a host can move the definition of a stopped guest, which is all that can be moved of one.
Task<bool> ask_offline(SideAnswers& side, HostNeeds needs) {
  if (!side.host) co_return false;
  needs.offline = true;
  const HostBrief brief = co_await side.host->brief(needs);
  side.view = seen(brief, side.view.uri);
  co_return true;
}

Endpoint endpoint(Side side, const std::string& uri, std::unique_ptr<Host> host, Opener open) {
  return {side, uri, std::move(host), [open = std::move(open), uri] { return open(uri); }};
}

}  // namespace

Task<Survey> survey(Opener open, Request request) {
  const std::string to = value_or_throw(destination_uri(request.source, request.destination));
  auto [source, destination] =
      co_await both(settle(ask_source(open, request)), settle(ask_destination(open, request, to)));
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
  const HostNeeds needs = needs_of(request);
  if (!source->domain.status.active() && !needs.offline) {
    co_await both(ask_offline(*source, needs), ask_offline(there, needs));
  }
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
