#pragma once
#include <string>
#include <vector>

#include "cli/spec.hpp"

namespace vmferry::cli {

struct ManPage {
  std::string name;  ///< "vmferry-migrate"; the file is NAME.1
  std::string text;  ///< roff
};
/// vmferry(1) first, then the pages of bigger commands.
std::vector<ManPage> man_pages();
/// "vmferry-migrate"; there is such a page if the command says so.
std::string page_name(const Command& command);

}  // namespace vmferry::cli
