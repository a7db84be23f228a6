#include "cli/migrate_view.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/units.hpp"

namespace vmferry::cli {

namespace {

double ms(Micros t) { return static_cast<double>(t.count()) / 1000; }

std::string_view doing(Phase phase) {
  static constexpr std::string_view words[] = {"asking the source", "preparing the destination",
                                               "copying",           "starting there",
                                               "ending the source", "looking at both hosts"};
  return words[static_cast<std::size_t>(phase)];
}

Json stats_json(const JobStats& stats) {
  Json out = Json::object();
  for (const TypedParam& p : stats.fields.items)
    std::visit([&](const auto& value) { out[p.field] = value; }, p.value);
  return out;
}

Json progress_json(const ProgressView& view) {
  Json out;
  if (view.fraction) out["fraction"] = *view.fraction;
  out["processed"] = view.processed;
  out["remaining"] = view.remaining;
  out["total"] = view.total;
  out["throughput"] = view.throughput;
  out["dirty_rate"] = view.dirty_rate;
  out["iteration"] = view.iteration;
  out["elapsed_ms"] = ms(view.elapsed);
  if (view.eta) out["eta_ms"] = ms(*view.eta);
  if (!view.no_eta.empty()) out["no_eta"] = view.no_eta;
  return out;
}

}  // namespace

std::string progress_text(Phase phase, const ProgressView& view, std::size_t columns) {
  std::string text(doing(phase));
  if (view.fraction)
    text += fmt::format(" {:3.0f}%  {} left of {}", *view.fraction * 100,
                        human_size(view.remaining), human_size(view.total));
  else if (view.elapsed != Micros(0))
    text += fmt::format("  {} so far", human_duration(view.elapsed));
  if (view.throughput != 0) text += "  " + human_rate(view.throughput);
  if (view.dirty_rate != 0) text += "  dirty " + human_rate(view.dirty_rate);
  if (view.iteration > 1) text += fmt::format("  pass {}", view.iteration);
  if (view.eta) text += "  ETA " + human_duration(*view.eta);
  if (!view.no_eta.empty()) text += "  " + view.no_eta;
  if (text.size() > columns) text.resize(columns);
  return text;
}

void MigrateView::emit(Json object) {
  object["time_ms"] = ms(context_.clock.now());
  context_.sink.out(object.dump() + "\n");
}

void MigrateView::show_line(const std::string& text) {
  if (events_ || context_.json() || context_.quiet || !context_.terminal.err) return;
  const std::size_t pad = shown_ > text.size() ? shown_ - text.size() : 0;
  context_.sink.err("\r" + text + std::string(pad, ' '));
  shown_ = text.size();
}

void MigrateView::done() {
  if (shown_ == 0) return;
  context_.sink.err("\r" + std::string(shown_, ' ') + "\r");
  shown_ = 0;
}

void MigrateView::phase(Phase phase) {
  phase_ = phase;
  if (events_)
    emit({{"event", "phase"}, {"phase", name(phase)}});
  else if (verbose_ && !context_.terminal.err && !context_.json())
    context_.sink.err(fmt::format("{}\n", doing(phase)));
  show_line(progress_text(phase, {}, context_.terminal.columns - 1));
}

void MigrateView::progress(const JobStats& stats) {
  const ProgressView view = progress_.update(stats, context_.clock.now());
  if (events_) {
    Json object = progress_json(view);
    object["event"] = "progress";
    emit(std::move(object));
  }
  show_line(progress_text(phase_, view, context_.terminal.columns - 1));
}

void MigrateView::event(Side side, const DomainEvent& event) {
  if (!events_) return;
  Json object = {{"side", name(side)}, {"domain", event.domain.name}};
  switch (event.kind) {
    case DomainEvent::Kind::lifecycle:
      object["event"] = "lifecycle";
      object["type"] = event.event;
      object["detail"] = event.detail;
      break;
    case DomainEvent::Kind::iteration:
      object["event"] = "iteration";
      object["iteration"] = event.iteration;
      break;
    case DomainEvent::Kind::job_completed:
      object["event"] = "job-completed";
      object["stats"] = stats_json(event.stats);
      break;
  }
  emit(std::move(object));
}

void MigrateView::notice(const std::string& text) {
  if (events_) return emit({{"event", "notice"}, {"text", text}});
  if (context_.quiet || context_.json()) return;
  done();
  context_.sink.err(printable(text) + "\n");
}

namespace {

std::string_view name(Whereabouts where) {
  static constexpr std::string_view names[] = {"source", "destination", "undecided", "lost"};
  return names[static_cast<std::size_t>(where)];
}

Json sighting_json(const Sighting& s) {
  Json out = {{"seen", describe(s)}};
  if (s.known() && s.seen != Sighting::Seen::absent) {
    out["state"] = state_text(s.status.state);
    out["reason"] = reason_text(s.status);
  }
  return out;
}

}  // namespace

std::string report_text(const Report& report, const std::string& domain,
                        const std::string& destination) {
  std::string out;
  if (report.where == Whereabouts::destination)
    out += fmt::format("{} is on {} ({}); source: {}\n", printable(domain), printable(destination),
                       describe(report.destination), describe(report.source));
  std::string phases;
  for (std::size_t i = 0; i < kPhaseCount; ++i)
    if (report.took[i] != Micros(0))
      phases += fmt::format("{}{} {}", phases.empty() ? "" : ", ",
                            vmferry::name(static_cast<Phase>(i)), human_duration(report.took[i]));
  out += fmt::format("took {} ({})\n", human_duration(report.total), phases);
  const std::uint64_t downtime = report.stats.number("downtime");
  const std::uint64_t bytes = report.stats.number("data_processed");
  if (downtime != 0 || bytes != 0)
    out += fmt::format("guest stood still for {} ms, {} were sent\n", downtime, human_size(bytes));
  return out;
}

Json report_json(const Report& report) {
  Json out;
  out["where"] = name(report.where);
  out["exit"] = static_cast<int>(report.exit());
  if (report.domain)
    out["domain"] = {{"name", report.domain->name}, {"uuid", to_string(report.domain->uuid)}};
  out["source"] = sighting_json(report.source);
  out["destination"] = sighting_json(report.destination);
  out["total_ms"] = ms(report.total);
  Json phases;
  for (std::size_t i = 0; i < kPhaseCount; ++i)
    if (report.took[i] != Micros(0))
      phases[std::string(vmferry::name(static_cast<Phase>(i)))] = ms(report.took[i]);
  out["phases_ms"] = std::move(phases);
  out["stats"] = stats_json(report.stats);
  out["notes"] = report.notes;
  if (report.error) out["error"] = error_json(*report.error);
  return out;
}

}  // namespace vmferry::cli
