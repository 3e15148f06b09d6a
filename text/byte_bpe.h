// Tokenizers on byte-level BPE that are stored as a list of pieces in glyphs and a list of merges: GPT-2's
// two files, fairseq's dictionary over them, and most GGUF files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer.h"

namespace mneme {

// A merge is "left right". Pieces that the vocabulary lacks are an Error that quotes the merge.
MergeTable read_merge_lines(const std::vector<std::string_view>& lines, const Vocabulary& vocab,
                            const std::string& where);
// The lines of merges.txt without comments and empty ones.
std::vector<std::string_view> merge_lines(std::string_view merges_txt);

TokenizerParts make_byte_bpe(Vocabulary vocab, MergeTable merges, bool whole_pieces,
                             const std::vector<std::string_view>& patterns, const std::string& where);

}  // namespace mneme
