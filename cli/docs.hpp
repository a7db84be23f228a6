#pragma once
#include <string>

namespace vmferry::cli {

/// The whole manual, vmferry(1), in man(7) markup, from the tables of commands, options, exit
/// statuses and errors.
std::string man_page();

}  // namespace vmferry::cli
