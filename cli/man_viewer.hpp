#pragma once
#include <string>

namespace vmferry::cli {

/// Shows a manual page with man(1), until the reader leaves it. False: there is no man, it does not
/// know the page, or it failed; nothing was shown then.
bool show_man_page(const std::string& page);

}  // namespace vmferry::cli
