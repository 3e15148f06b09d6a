// What the name in tokenizer.ggml.pre stands for: the split patterns, which each cut what the ones before
// left, and three habits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct GgufPatterns {
  std::vector<std::string_view> patterns;
  bool whole_pieces = false;  // a word that is a piece is not merged
  bool adds_bos = false;      // unless the file says otherwise
  bool nfc = false;
};

GgufPatterns gguf_patterns(std::string_view name, const std::string& where);

}  // namespace mneme
