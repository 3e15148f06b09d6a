// Documents to measure a model on: token ids, and how many bytes of text they stand for.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mneme {

struct EvalDocument {
  std::string name;
  std::vector<int32_t> ids;
  int64_t bytes = 0;  // of its text; 0: unknown
};

struct DocumentChoice {
  int64_t most = 0;    // documents; 0: all
  int64_t tokens = 0;  // of each document, from its begin on; 0: all
  bool as_bytes = false;
};

// Of prepared folders and shards, and of everything that 'mneme data prepare' reads, whose texts go through
// the tokenizer (with the special tokens that it puts before a text, without an end token). `as_bytes`: texts
// are bytes 0 to 255 behind one 256, as models trained on bytes want them; no tokenizer then.
std::vector<EvalDocument> read_documents(const std::vector<std::string>& inputs, const Tokenizer* tokenizer,
                                         const DocumentChoice& choice);

}  // namespace mneme
