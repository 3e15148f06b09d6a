// SentencePiece's precompiled character map: a Darts double array from byte strings to offsets in a block of
// NUL-terminated replacements. It only looks up; the two libraries that use it differ in how they walk a
// text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

class Charsmap {
 public:
  Charsmap() = default;
  // The bytes as stored in a model; empty means the identity. Damaged ones are an Error.
  Charsmap(std::string_view blob, const std::string& where);

  bool empty() const { return units_.empty(); }
  struct Match {
    size_t size = 0;  // bytes of text; 0: no rule
    std::string_view replacement;
  };
  Match longest_prefix(std::string_view text) const { return search(text, false); }
  Match shortest_prefix(std::string_view text) const { return search(text, true); }

 private:
  Match search(std::string_view text, bool first) const;
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace mneme
