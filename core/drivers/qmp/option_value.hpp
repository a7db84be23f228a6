#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmferry::qmp {

/// The value of one QEMU option, "tap,id=n,ifname=t0", taken apart for changes. Pieces that are
/// not touched stay as they were written (a comma in a value is written twice).
class OptionValue {
 public:
  explicit OptionValue(std::string_view text);

  std::string kind() const;  ///< the first piece, if it is no key=value
  std::optional<std::string> get(std::string_view key) const;
  std::vector<std::string> all(std::string_view key) const;  ///< of a key that may come repeatedly
  /// "server", "server=on", "server=yes".
  bool on(std::string_view key) const;
  void set(std::string_view key, const std::string& value);
  void remove(std::string_view key);  ///< "wait=off", "wait", and "nowait"
  std::string text() const;

 private:
  std::vector<std::string> pieces_;
};

/// With every comma written twice.
std::string commas_doubled(std::string_view value);

/// "-machine" and "--machine" are the same to QEMU: the name, or nothing for what is no option.
std::string_view option_name(std::string_view word);

}  // namespace vmferry::qmp
