#pragma once
#include <string>
#include <string_view>

#include "cli/context.hpp"

namespace vmferry::cli {

/// What a command printed, kept.
struct KeptSink final : Sink {
  std::string written, complained;
  void out(std::string_view text) override { written += text; }
  void err(std::string_view text) override { complained += text; }
};

}  // namespace vmferry::cli
