#include "core/drivers/test/memory.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace vmferry::sim {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Memory Memory::empty(const MemoryShape& shape) {
  Memory memory;
  memory.shape_ = shape;
  memory.bytes_.resize(std::size_t{shape.pages} * shape.page_size);
  memory.missing_.assign(shape.pages, true);
  memory.missing_count_ = shape.pages;
  return memory;
}

Memory Memory::fresh(const MemoryShape& shape) {
  static constexpr std::string_view kText = "The ferry leaves the quay. ";
  Memory memory = empty(shape);
  memory.missing_.assign(shape.pages, false);
  memory.missing_count_ = 0;
  for (std::uint32_t i = 0; i < shape.pages; ++i) {
    const std::uint64_t random = mix(shape.seed ^ i);
    if (i >= shape.hot && random % 3 == 0) continue;
    std::byte* const at = memory.bytes_.data() + std::size_t{i} * shape.page_size;
    for (std::uint32_t j = 0; j < shape.page_size; ++j)
      at[j] = static_cast<std::byte>(kText[(j + random) % kText.size()]);
    std::memcpy(at, &random, sizeof random);
  }
  return memory;
}

std::uint64_t Memory::draw() const { return mix(shape_.seed * 31 + writes_); }

std::uint32_t Memory::next_page() const {
  const std::uint32_t hot = std::clamp(shape_.hot, 1U, shape_.pages);
  return static_cast<std::uint32_t>(draw() % hot);
}

void Memory::write() {
  const std::uint64_t random = draw();
  const std::uint32_t number = next_page();
  const std::size_t words = shape_.page_size / 8;
  std::byte* const at =
      bytes_.data() + std::size_t{number} * shape_.page_size + (random >> 32) % words * 8;
  std::memcpy(at, &random, sizeof random);
  ++writes_;
  if (dirty_.empty() || dirty_[number]) return;
  dirty_[number] = true;
  ++dirty_count_;
}

void Memory::write_until(std::uint64_t count) {
  while (writes_ < count) write();
}

std::span<const std::byte> Memory::page(std::uint32_t number) const {
  return std::span(bytes_).subspan(std::size_t{number} * shape_.page_size, shape_.page_size);
}

bool Memory::is_zero(std::uint32_t number) const {
  return std::ranges::all_of(page(number), [](std::byte b) { return b == std::byte{0}; });
}

void Memory::put(std::uint32_t number, std::span<const std::byte> content) {
  std::byte* const at = bytes_.data() + std::size_t{number} * shape_.page_size;
  if (content.empty())
    std::fill_n(at, shape_.page_size, std::byte{0});
  else
    std::ranges::copy(content, at);
  if (missing_[number]) --missing_count_;
  missing_[number] = false;
}

void Memory::drop(std::uint32_t number) {
  if (!missing_[number]) ++missing_count_;
  missing_[number] = true;
}

void Memory::start_log() {
  dirty_.assign(shape_.pages, true);
  dirty_count_ = shape_.pages;
}

std::vector<std::uint32_t> Memory::take_dirty() {
  std::vector<std::uint32_t> taken;
  taken.reserve(dirty_count_);
  for (std::uint32_t i = 0; i < dirty_.size(); ++i)
    if (dirty_[i]) taken.push_back(i);
  dirty_.assign(shape_.pages, false);
  dirty_count_ = 0;
  return taken;
}

}  // namespace vmferry::sim
