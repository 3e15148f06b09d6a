// A document as token ids, and which of them count in the loss.
#pragma once

#include <cstdint>
#include <vector>

#include "data/document.h"
#include "text/tokenizer.h"

namespace mneme {

struct TokenizedDocument {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;  // a 0 or 1 for each id; empty: all of them
};

struct TokenizeOptions {
  bool special = true;  // what the tokenizer puts around a text (BOS, mostly)
  bool end = true;      // its end-of-text token after a document that does not end with one
  bool plain = false;   // "<|endoftext|>" and the like in plain documents are ordinary text
};

// A token counts if a byte of it lies in a trained range. Where the tokenizer changes texts so that its
// pieces do not tell their bytes, the tokens of a range are found by encoding the text up to its borders.
TokenizedDocument tokenize_document(const Document& document, const Tokenizer& tokenizer,
                                    const TokenizeOptions& options);

}  // namespace mneme
