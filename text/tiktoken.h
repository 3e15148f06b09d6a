// Rank files of tiktoken: what a file does not say.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace mneme {

struct TiktokenEncoding {
  std::string_view pattern;
  std::vector<std::pair<std::string, int32_t>> special;
  std::string bos, eos;  // names of special tokens
  bool adds_bos = false;
  bool parses_special = false;  // text may name special tokens
};

// The published encoding with so many ranks; another number is an Error.
TiktokenEncoding tiktoken_encoding(size_t ranks, const std::string& where);

TokenizerParts parse_tiktoken(std::string_view bytes, const TiktokenEncoding& encoding,
                              const std::string& where);

}  // namespace mneme
