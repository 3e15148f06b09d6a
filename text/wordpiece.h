// WordPiece: the longest vocabulary entry at each place of a word, entries after the first under a prefix
// ("##"); a word that cannot be covered is unknown. With no prefix and whole words only it is WordLevel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/subword_model.h"
#include "text/trie.h"

namespace mneme {

struct WordPieceOptions {
  int32_t unk = -1;  // -1: a word that cannot be covered vanishes
  std::string continuing_prefix = "##";
  int64_t longest_word = 100;  // in characters
};

class WordPiece final : public SubwordModel {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options);
  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  bool cover(std::string_view word, std::vector<int32_t>& out) const;
  WordPieceOptions options_;
  Trie trie_;
  int32_t continuing_ = Trie::kNone;  // the node after the prefix
};

class WordLevel final : public SubwordModel {
 public:
  WordLevel(Vocabulary vocabulary, int32_t unk) : SubwordModel(std::move(vocabulary)), unk_(unk) {}
  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  int32_t unk_;
};

}  // namespace mneme
