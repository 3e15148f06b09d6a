// A set of byte strings with values, as a double array: one step is one addition and one comparison. Built
// once, then constant. Keys are not empty; of equal keys the last wins.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace mneme {

class Trie {
 public:
  static constexpr int32_t kNone = -1;

  Trie() = default;
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> keys);

  bool empty() const { return units_.empty(); }
  static constexpr int32_t root() { return 0; }
  // The node that `byte` leads to, or kNone.
  int32_t step(int32_t node, char byte) const {
    const uint32_t next = units_[node].base + static_cast<unsigned char>(byte);
    return next < units_.size() && units_[next].parent == node ? static_cast<int32_t>(next) : kNone;
  }
  int32_t value(int32_t node) const { return units_[node].value; }  // kNone inside a key

  struct Match {
    int32_t value = kNone;
    size_t size = 0;
  };
  Match longest_prefix(std::string_view text) const { return longest_prefix(root(), text); }
  Match longest_prefix(int32_t from, std::string_view text) const;

 private:
  struct Unit {
    uint32_t base = 0;
    int32_t parent = kNone;
    int32_t value = kNone;
  };
  std::vector<Unit> units_;
};

}  // namespace mneme
