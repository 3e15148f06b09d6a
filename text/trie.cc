#include "text/trie.h"

#include <algorithm>

namespace mneme {

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> keys) {
  if (keys.empty()) return;
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  struct Range {
    size_t begin, end, depth;
    int32_t node;
  };
  std::vector<bool> taken(512);
  taken[0] = true;
  units_.resize(1);
  size_t first_free = 1;
  std::vector<Range> open = {{0, keys.size(), 0, 0}};
  std::vector<std::pair<unsigned char, size_t>> children;  // byte, first key
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    while (range.begin < range.end && keys[range.begin].first.size() == range.depth) {
      units_[range.node].value = keys[range.begin++].second;
    }
    if (range.begin == range.end) continue;
    children.clear();
    for (size_t i = range.begin; i < range.end; ++i) {
      const auto byte = static_cast<unsigned char>(keys[i].first[range.depth]);
      if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
    }
    while (first_free < taken.size() && taken[first_free]) ++first_free;
    size_t base = first_free > children[0].first ? first_free - children[0].first : 1;
    size_t tried = 0, busy = 0;
    for (;; ++base) {
      if (base + 256 > taken.size()) taken.resize(taken.size() * 2 + 256);
      const bool fits = std::none_of(children.begin(), children.end(),
                                     [&](const auto& c) { return taken[base + c.first]; });
      if (fits) break;
      ++tried;
      busy += taken[base + children[0].first];
    }
    // A stretch that is nearly full is not searched again, or building would take quadratic time.
    if (tried > 64 && busy * 20 > tried * 19) first_free = base + children[0].first;
    units_[range.node].base = static_cast<uint32_t>(base);
    if (base + 256 > units_.size()) units_.resize(std::max(base + 256, units_.size() + units_.size() / 2));
    for (size_t c = 0; c < children.size(); ++c) {
      const auto child = static_cast<int32_t>(base + children[c].first);
      taken[child] = true;
      units_[child].parent = range.node;
      const size_t end = c + 1 < children.size() ? children[c + 1].second : range.end;
      open.push_back({children[c].second, end, range.depth + 1, child});
    }
  }
  // Either may have grown further than the other.
  while (units_.size() > taken.size() || !taken[units_.size() - 1]) units_.pop_back();
}

Trie::Match Trie::longest_prefix(int32_t node, std::string_view text) const {
  Match best;
  if (empty()) return best;
  for (size_t i = 0; i < text.size();) {
    node = step(node, text[i++]);
    if (node == kNone) break;
    if (value(node) != kNone) best = {value(node), i};
  }
  return best;
}

}  // namespace mneme
