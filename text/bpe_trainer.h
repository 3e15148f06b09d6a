// Training of a byte-level BPE, as GPT-2 defines it: words by the split pattern, then the most frequent pair
// becomes a piece, again and again. Among equally frequent pairs the one whose pieces are greatest as byte
// strings wins, left piece first. The result is written as tokenizer.json. Encoding is in text/bpe.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mneme {

struct BpeTrainOptions {
  int64_t vocab_size = 0;            // with the special tokens and the 256 bytes
  std::vector<std::string> special;  // ids from 0 on; never merged, and texts are cut at them
  std::string pattern;               // of words, in Oniguruma's syntax; empty: GPT-2's
  int64_t least_count = 2;           // rarer pairs are not merged
};

struct TrainedBpe {
  std::vector<std::string> special;
  std::string pattern;
  std::vector<std::string> pieces;                          // bytes; ids follow the special tokens
  std::vector<std::pair<std::string, std::string>> merges;  // bytes
};

class BpeTrainer {
 public:
  explicit BpeTrainer(BpeTrainOptions options);
  ~BpeTrainer();
  BpeTrainer(const BpeTrainer&) = delete;
  BpeTrainer& operator=(const BpeTrainer&) = delete;

  void add(std::string_view text);  // may be called many times; a word does not cross two texts
  TrainedBpe train() const;         // fewer pieces than asked for when no pair is frequent enough

 private:
  struct Words;
  BpeTrainOptions options_;
  std::unique_ptr<Words> words_;
};

std::string to_tokenizer_json(const TrainedBpe& trained);

}  // namespace mneme
