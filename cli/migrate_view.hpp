#pragma once
// What a person or a program sees of a migration: one progress line on a terminal, one JSON object
// per event, and the report at the end.
#include <nlohmann/json_fwd.hpp>

#include "cli/context.hpp"
#include "cli/output.hpp"
#include "core/migrate/engine.hpp"
#include "core/migrate/progress.hpp"

namespace vmferry::cli {

class MigrateView final : public Observer {
 public:
  MigrateView(Context& context, bool events, bool verbose)
      : context_(context), events_(events), verbose_(verbose) {}
  void phase(Phase phase) override;
  void progress(const JobStats& stats) override;
  void event(Side side, const DomainEvent& event) override;
  void notice(const std::string& text) override;

  /// Takes the progress line away.
  void done();

 private:
  void show_line(const std::string& text);
  void emit(Json object);

  Context& context_;
  bool events_, verbose_;
  Progress progress_;
  Phase phase_ = Phase::begin;
  std::size_t shown_ = 0;  ///< columns of the line on the terminal
};

/// "copying  43%  112 MiB of 256 MiB …", at most `columns` wide.
std::string progress_text(Phase phase, const ProgressView& view, std::size_t columns);

/// The report for people, without the error (main prints that).
std::string report_text(const Report& report, const std::string& domain,
                        const std::string& destination);
Json report_json(const Report& report);

}  // namespace vmferry::cli
