#pragma once
// From what was typed, option by option, to a Request: values are parsed and bounded here, and the
// relations that follow from the command line alone are checked, before any host is contacted.
#include <string>
#include <string_view>
#include <vector>

#include "core/flags/check.hpp"
#include "core/migrate/request.hpp"

namespace vmferry {

class Draft {
 public:
  std::string domain, source, destination;

  /// A boolean: --x is yes, --no-x is no. Saying both is an error. Errors: usage.
  Result<> choose(Opt option, Choice choice);
  /// An option with an argument; lists grow with each call, others are replaced. A file's is its
  /// contents (at most 4 MiB, libvirt's limit of a string). Errors: usage.
  Result<> set(Opt option, std::string_view value);
  const Chosen& chosen() const { return chosen_; }
  /// What is wrong with the command line.
  std::vector<Objection> objections() const;
  /// Errors: usage, with every objection (the first is the message, the others are notes).
  Result<Request> request() const;
  /// The request whatever objections() there are, for those who show them with all the others.
  Request unchecked() const;

 private:
  Chosen chosen_;
  Params params_;
  std::int64_t timeout_s_ = 0, max_freeze_s_ = 0;
};

/// What a request says of every option.
Chosen chosen(const Request& request);

}  // namespace vmferry
