// Whether a tokenizer survived its translation into another form: both encode the same texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mneme {

struct TokenizerDifference {
  std::string text;
  std::vector<int32_t> before, after;
};

struct TokenizerComparison {
  int64_t texts = 0;
  std::vector<TokenizerDifference> different;
  std::string summary() const;  // a sentence on the first difference; empty when there is none
};

// Texts that tell tokenizers apart: scripts, white space, digits, composed and decomposed letters, code,
// bytes, and all special tokens, with and without what stands around a text.
TokenizerComparison compare_tokenizers(const Tokenizer& before, const Tokenizer& after);

}  // namespace mneme
