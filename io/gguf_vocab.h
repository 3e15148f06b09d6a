// A tokenizer as GGUF metadata (tokenizer.*). Byte-level BPE (tokenizer.json, vocab.json with merges.txt)
// becomes "gpt2"; SentencePiece-like BPE with byte fallback becomes "llama", with the scores of a
// tokenizer.model or, from a tokenizer.json, one from each merge's rank; a tokenizer.model of type Unigram
// becomes "t5"; what stands in a GGUF file goes over as it is. Split patterns are said there only as names of
// llama.cpp: a pattern without one is refused, and so are WordPiece, ranks and the Unigram of tokenizer.json.
// Normalisers are not said at all (llama.cpp does without Qwen's and Pythia's NFC): whoever exports compares
// (convert/tokenizer_check.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/gguf.h"

namespace mneme {

struct SpmModel;

// `path`: a folder or a tokenizer file. `rows` of the model's embedding: ids without a token are filled up as
// unused. Throws Error{input} when the tokenizer has more tokens than rows or no form in GGUF.
GgufSettings gguf_vocabulary(const std::string& path, int64_t rows);
// The part that tokenizer.json alone says: all but special ids and the chat template.
GgufSettings gguf_tokens(const nlohmann::json& tokenizer, const std::string& where, int64_t rows);
GgufSettings gguf_pieces(const SpmModel& model, const std::string& where, int64_t rows);

}  // namespace mneme
