// The unigram model: of all ways to cut a piece into vocabulary entries the one with the largest sum of log
// probabilities, found by Viterbi on a trie in time linear in the piece.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/subword_model.h"
#include "text/trie.h"

namespace mneme {

// The two libraries differ in how they add scores, what stands in the trie and how they name the unknown.
enum class UnigramFlavor { hugging_face, sentencepiece };

struct UnigramOptions {
  UnigramFlavor flavor = UnigramFlavor::hugging_face;
  int32_t unk = -1;
  bool byte_fallback = false;
  bool cached = false;                // pieces are words
  std::vector<double> scores;         // by id
  std::vector<int32_t> matched;       // ids that occur in text
  std::vector<int32_t> normal;        // ids whose scores set the range of scores
  std::vector<int32_t> user_defined;  // always preferred (SentencePiece)
};

class Unigram final : public SubwordModel {
 public:
  Unigram(Vocabulary vocabulary, UnigramOptions options, const std::string& where);
  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  void encode_uncached(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const;
  void find_paths(std::string_view piece, std::vector<BestPath>& paths) const;
  void reach(BestPath& node, double score, int32_t id, uint32_t from) const;
  void emit_unknown(std::string_view text, std::vector<int32_t>& out) const;

  UnigramOptions options_;
  Trie trie_;
  std::vector<bool> is_user_defined_;
  double unknown_score_ = 0, highest_score_ = 0;
  std::vector<int32_t> byte_ids_;  // empty: no byte fallback
};

}  // namespace mneme
