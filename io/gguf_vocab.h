// A tokenizer's vocabulary as GGUF metadata (tokenizer.ggml.*), from the tokenizer.json of a folder.
// Byte-level BPE becomes "gpt2", SentencePiece-like BPE with byte fallback becomes "llama" with a score from
// each merge's rank. Split patterns stand in GGUF only as names of llama.cpp: a pattern without one is
// refused, as are Unigram and WordPiece. Normalisers are not said there at all (llama.cpp does without Qwen's
// and Pythia's NFC).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/gguf.h"

namespace mneme {

// `rows` of the model's embedding: ids without a token are filled up as unused. Throws Error{input} when the
// tokenizer has more tokens than rows or no form in GGUF.
GgufSettings gguf_vocabulary(const std::string& folder, int64_t rows);
// The part that tokenizer.json alone says: all but special ids and the chat template.
GgufSettings gguf_tokens(const nlohmann::json& tokenizer, const std::string& where, int64_t rows);

}  // namespace mneme
