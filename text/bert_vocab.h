// BERT's tokenizer made from a list of pieces.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace mneme {

// `longest_word` in characters; longer words are unknown.
TokenizerParts make_bert_tokenizer(Vocabulary vocab, bool lowercase, int64_t longest_word,
                                   const std::string& where);

}  // namespace mneme
