// SentencePiece's own normaliser: the longest rule of the character map at each place, user-defined pieces
// left alone, spaces collapsed and escaped, a dummy prefix. It differs from the "Precompiled" normalizer of
// tokenizer.json, which finds other matches.
#pragma once

#include <string>
#include <vector>

#include "text/charsmap.h"
#include "text/normalizer.h"
#include "text/trie.h"

namespace mneme {

struct SpmNormalizerOptions {
  Charsmap charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
  bool spaces_are_suffixes = false;
  std::vector<std::string> user_defined;
};

class SpmNormalizer final : public Normalizer {
 public:
  explicit SpmNormalizer(SpmNormalizerOptions options);
  void apply(std::string& text, bool& front_lost) const override;

 private:
  struct Step {
    size_t consumed;
    std::string_view text;
  };
  Step step(std::string_view rest) const;
  SpmNormalizerOptions options_;
  Trie user_defined_;
};

}  // namespace mneme
