// A shard: tokenised documents in one file that is mapped and read in place. docs/formats.md has it byte by
// byte.
//
// A shard is whole or not there (it appears by rename), and says by its checksums whether it is still what
// was written. It knows the fingerprint of the tokenizer that made it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/tokenize.h"

namespace mneme {

struct ShardInfo {
  uint64_t tokenizer = 0;   // Tokenizer::fingerprint(), 0: unknown
  uint64_t settings = 0;    // hash of how the documents were made
  uint32_t vocabulary = 0;  // one past the highest id that may occur
};

class ShardWriter {
 public:
  explicit ShardWriter(const ShardInfo& info) : info_(info) {}
  void add(const TokenizedDocument& document);  // ids must lie in the vocabulary
  uint64_t tokens() const { return ids_.size(); }
  uint64_t documents() const { return ends_.size(); }
  uint64_t trained() const;
  void write(const std::string& path) const;  // atomically
  void clear();

 private:
  ShardInfo info_;
  std::vector<int32_t> ids_;
  std::vector<uint64_t> ends_;
  std::vector<bool> trained_;
  bool masked_ = false;
};

class Shard {
 public:
  enum class Check { all, header };  // whether tokens and mask are read once to compare their checksums
  explicit Shard(const std::string& path, Check check = Check::all);

  uint64_t tokens() const { return tokens_; }
  uint64_t documents() const { return documents_; }
  uint64_t trained() const { return trained_; }  // tokens that count
  bool masked() const { return mask_ != nullptr; }
  int bits() const { return wide_ ? 32 : 16; }
  const ShardInfo& info() const { return info_; }
  uint64_t begin_of(uint64_t document) const;
  uint64_t end_of(uint64_t document) const { return begin_of(document + 1); }
  void copy(uint64_t first, size_t count, int32_t* out) const;
  bool counts(uint64_t token) const;
  const std::string& path() const { return map_.path(); }

 private:
  MappedFile map_;
  ShardInfo info_;
  uint64_t tokens_ = 0, documents_ = 0, trained_ = 0;
  bool wide_ = false;
  const std::byte* offsets_ = nullptr;
  const std::byte* ids_ = nullptr;
  const std::byte* mask_ = nullptr;
};

}  // namespace mneme
