// The part of a tokenizer between text pieces and ids: byte-pair encoding, unigram, WordPiece, whole words.
// A model is constant after it is made and is used from many threads at once, each with its own scratch.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace mneme {

// Remembers the ids of short pieces. A piece has two places: a newcomer takes the first, what stood there
// moves to the second, what stood there is forgotten.
class PieceCache {
 public:
  static constexpr size_t kLongestPiece = 22, kMostIds = 8;
  struct Entry {
    uint64_t hash;
    uint8_t piece_size, id_count;
    char piece[kLongestPiece];
    int32_t ids[kMostIds];
  };
  PieceCache();
  // Appends the ids and returns true, or returns false.
  bool find(std::string_view piece, uint64_t hash, std::vector<int32_t>& out) const;
  void store(std::string_view piece, uint64_t hash, const int32_t* ids, size_t count);

 private:
  static constexpr size_t kEntries = 1 << 16;
  struct Free {
    void operator()(Entry* entries) const;
  };
  std::unique_ptr<Entry[], Free> entries_;  // 4 MB of zero pages, of which a short text touches a few
};

struct HeapEntry {
  uint64_t order = 0;  // rank << 32 | position
  bool operator>(const HeapEntry& other) const { return order > other.order; }
};

struct MergeSymbol {
  int32_t id = -1;
  uint32_t begin = 0;  // in the piece
  uint32_t rank = 0;   // of the pair with the next symbol; UINT32_MAX: none
  int32_t merged = -1;
  uint32_t previous = 0, next = 0;
};

struct BestPath {
  double score = 0;
  int32_t id = -1;
  uint32_t begin = UINT32_MAX;  // of the piece that ends here; UINT32_MAX: not reached
};

// Buffers of one encoding thread for one model, and its cache.
struct EncodeScratch {
  PieceCache cache;
  std::vector<MergeSymbol> symbols;
  std::vector<HeapEntry> heap;
  std::vector<BestPath> paths;
  std::vector<int32_t> ids;
  std::vector<std::array<int32_t, 3>> splits;  // merged id and its halves, where a model must undo merges
};

class SubwordModel {
 public:
  explicit SubwordModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~SubwordModel() = default;
  SubwordModel(const SubwordModel&) = delete;
  SubwordModel& operator=(const SubwordModel&) = delete;

  // Appends the ids of a piece: well-formed text, or any bytes for a model that reads bytes.
  virtual void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

}  // namespace mneme
