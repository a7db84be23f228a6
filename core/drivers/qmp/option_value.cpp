#include "core/drivers/qmp/option_value.hpp"

#include <algorithm>

namespace vmferry::qmp {

namespace {

bool is_key(std::string_view piece, std::string_view key) {
  if (piece == key) return true;
  return piece.size() > key.size() && piece.starts_with(key) && piece[key.size()] == '=';
}

std::string commas_single(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    out += value[i];
    if (value[i] == ',' && i + 1 < value.size() && value[i + 1] == ',') ++i;
  }
  return out;
}

}  // namespace

OptionValue::OptionValue(std::string_view text) : pieces_(1) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      pieces_.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      pieces_.back() += ",,";
      ++i;
    } else {
      pieces_.emplace_back();
    }
  }
}

std::string OptionValue::kind() const {
  return pieces_[0].find('=') == std::string::npos ? pieces_[0] : std::string();
}

std::vector<std::string> OptionValue::all(std::string_view key) const {
  std::vector<std::string> out;
  for (const std::string& piece : pieces_)
    if (is_key(piece, key) && piece.size() > key.size())
      out.push_back(commas_single(std::string_view(piece).substr(key.size() + 1)));
  return out;
}

std::optional<std::string> OptionValue::get(std::string_view key) const {
  std::vector<std::string> values = all(key);
  if (values.empty()) return std::nullopt;
  return std::move(values.back());
}

bool OptionValue::on(std::string_view key) const {
  bool is = false;
  for (const std::string& piece : pieces_) {
    if (!is_key(piece, key)) continue;
    is = !piece.ends_with("=off") && !piece.ends_with("=no") && !piece.ends_with("=false");
  }
  return is;
}

void OptionValue::set(std::string_view key, const std::string& value) {
  const std::string piece = std::string(key) + "=" + commas_doubled(value);
  const auto at = std::ranges::find_if(pieces_, [&](const auto& p) { return is_key(p, key); });
  if (at == pieces_.end()) {
    pieces_.push_back(piece);
    return;
  }
  *at = piece;
  pieces_.erase(
      std::remove_if(at + 1, pieces_.end(), [&](const auto& p) { return is_key(p, key); }),
      pieces_.end());
}

void OptionValue::remove(std::string_view key) {
  const std::string negated = "no" + std::string(key);
  std::erase_if(pieces_, [&](const std::string& p) { return is_key(p, key) || p == negated; });
}

std::string OptionValue::text() const {
  std::string out;
  for (const std::string& piece : pieces_) out += (out.empty() ? "" : ",") + piece;
  return out;
}

std::string commas_doubled(std::string_view value) {
  std::string out;
  for (const char c : value) out += c == ',' ? std::string(",,") : std::string(1, c);
  return out;
}

std::string_view option_name(std::string_view word) {
  if (word.size() < 2 || word[0] != '-') return {};
  return word.substr(word[1] == '-' ? 2 : 1);
}

}  // namespace vmferry::qmp
