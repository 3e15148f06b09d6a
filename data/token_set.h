// Documents as token ids, in shards or in memory, under one numbering.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/tokenize.h"

namespace mneme {

class TokenSet {
 public:
  explicit TokenSet(std::vector<TokenizedDocument> documents);  // in memory
  // A prepared folder or one shard. Shards of different tokenizers do not go together.
  static TokenSet open(const std::string& path, Shard::Check check = Shard::Check::all);

  int64_t documents() const { return begins_.empty() ? 0 : static_cast<int64_t>(begins_.size()) - 1; }
  int64_t tokens() const { return begins_.empty() ? 0 : begins_.back(); }
  int64_t trained() const { return trained_; }
  bool masked() const { return trained_ != tokens(); }
  uint64_t tokenizer() const { return tokenizer_; }   // fingerprint; 0: unknown
  int64_t vocabulary() const { return vocabulary_; }  // one past the highest id

  int64_t begin_of(int64_t document) const { return begins_[static_cast<size_t>(document)]; }
  int64_t length(int64_t document) const { return begin_of(document + 1) - begin_of(document); }
  // Tokens [first, first + count) of the stream of all documents, one after the other.
  void copy(int64_t first, int64_t count, int32_t* ids, uint8_t* counts) const;

 private:
  TokenSet() = default;
  std::vector<TokenizedDocument> memory_;
  std::vector<Shard> shards_;
  std::vector<int64_t> shard_begins_;  // of tokens
  std::vector<int64_t> begins_;        // of documents, and the end of the last
  int64_t trained_ = 0, vocabulary_ = 0;
  uint64_t tokenizer_ = 0;
};

}  // namespace mneme
