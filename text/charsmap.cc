#include "text/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {

Charsmap::Charsmap(std::string_view blob, const std::string& where) {
  if (blob.empty()) return;
  uint32_t size = 0;
  if (blob.size() >= 4) std::memcpy(&size, blob.data(), 4);
  if (blob.size() < 4 || size > blob.size() - 4 || size % 4 != 0 || size == 0) {
    throw Error(Kind::input, where + ": a precompiled character map of " + std::to_string(blob.size()) +
                                 " bytes whose table should have " + std::to_string(size));
  }
  units_.resize(size / 4);
  std::memcpy(units_.data(), blob.data() + 4, size);
  replacements_ = blob.substr(4 + size);
  replacements_ += '\0';
  if (!is_utf8(replacements_)) {
    throw Error(Kind::input, where + ": the replacements of the precompiled character map are not UTF-8");
  }
}

Charsmap::Match Charsmap::search(std::string_view text, bool first) const {
  // Fields of a Darts-clone unit.
  const auto offset = [](uint32_t u) { return (u >> 10) << ((u & (1u << 9)) >> 6); };
  const auto label = [](uint32_t u) { return u & ((1u << 31) | 0xFFu); };
  const auto has_leaf = [](uint32_t u) { return (u >> 8 & 1u) != 0; };
  const auto value = [](uint32_t u) { return u & ((1u << 31) - 1); };
  Match best;
  if (units_.empty()) return best;
  uint32_t node = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size() || value(units_[node]) >= replacements_.size()) break;
    const uint32_t start = value(units_[node]);
    // A damaged table could end a rule, or begin its replacement, in the middle of a character.
    if (i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xC0) == 0x80) continue;
    if ((static_cast<unsigned char>(replacements_[start]) & 0xC0) == 0x80) break;
    best = {i + 1, std::string_view(replacements_.c_str() + start)};
    if (first) break;
  }
  return best;
}

}  // namespace mneme
