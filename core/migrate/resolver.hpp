#pragma once
// resolve() at work; internal to core/migrate.
#include "core/base/uri.hpp"
#include "core/migrate/resolve.hpp"

namespace vmferry {

class Resolver {
 public:
  Resolver(const Request& request, const HostView& source, const HostView& destination,
           const DomainView& domain);
  Resolution run() &&;

 private:
  // resolve_defaults.cpp
  void fill_defaults();
  void fill_demanded();
  void fill_definition();
  void fill_compression();
  void fill_uri();
  void fill_protection();
  // resolve_checks.cpp
  bool cannot() const;  ///< this driver has no migration at all
  /// There is nothing to be said of phases and data: this guest cannot move here, whatever is
  /// asked.
  bool immovable() const {
    return cannot() || (!active_ && !rules_.inactive.empty() && !out_.asked.trust_host);
  }
  void check_hosts();
  void check_relations_now();
  void check_driver();
  void check_option(const OptRow& option);
  void check_release(const OptRow& option);
  void check_state();
  void check_features();
  void check_protocol();
  void check_uris();
  // resolve_outcome.cpp
  void choose_kind();
  void set_flags();
  void describe_steps();
  bool stays_on_machine() const;
  void describe_data();
  void describe_end();
  void add_notes();

  void fill(Opt option, std::string rule, std::string reason, bool sent = true);
  Objection& object(Source source, std::optional<Opt> option, std::int32_t code, std::string reason,
                    std::string remedy = "");
  bool was_filled(Opt option) const;
  bool yes(Opt option) const { return chosen_.yes(option); }
  bool only_definition() const {
    return yes(Opt::offline) && !(active_ && rules_.habits.offline_ignored);
  }
  /// Memory is sent.
  bool has_data() const { return active_ && !only_definition(); }
  /// A source that waits for the rest of a post-copy is paused for that alone.
  bool arrives_paused() const {
    return domain_.status.state == DomainState::paused && !yes(Opt::postcopy_resume);
  }
  std::string source_name() const;
  std::string destination_name() const;

  const HostView& source_;
  const HostView& destination_;
  const DomainView& domain_;
  const DriverRules& rules_;
  bool active_;
  Chosen chosen_;
  Resolution out_;
};

}  // namespace vmferry
