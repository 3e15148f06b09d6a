// Which file a tokenizer is read from.
#pragma once

#include <string>

namespace mneme {

// The one that load_tokenizer reads: of a folder's, or `path` itself.
std::string tokenizer_file(const std::string& path);
// Whether a tokenizer.model holds ranks as tiktoken writes them, not SentencePiece's pieces.
bool holds_ranks(const std::string& path);

}  // namespace mneme
