// Byte-pair encoding: a piece starts as characters (or bytes), then the pair of lowest rank merges, the
// leftmost first among equals, until no pair has a rank. Ranks are the order of the merges (GPT-2), of the
// pieces (tiktoken) or of the scores (SentencePiece). Training is in text/bpe_trainer.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/subword_model.h"

namespace mneme {

// (left id, right id) -> (rank, merged id); open addressing.
class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Merge {
    uint32_t rank = kNoRank;
    int32_t id = -1;
  };
  void reserve(size_t merges);
  // A pair given twice keeps its later merge.
  void add(int32_t left, int32_t right, Merge merge);
  Merge find(int32_t left, int32_t right) const {
    if (slots_.empty()) return {};
    const uint64_t key = key_of(left, right);
    for (size_t i = home(key);; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kFree) return {};
    }
  }
  void prefetch(int32_t left, int32_t right) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[home(key_of(left, right))], 1);
  }
  size_t size() const { return count_; }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t home(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;
    return (key ^ key >> 32) & mask_;
  }
  std::vector<Slot> slots_;
  size_t mask_ = 0, count_ = 0;
};

// Merges in the order of their ranks, by the texts of the pieces.
class MergeList {
 public:
  explicit MergeList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}
  // The merged piece is `left` and `right` without its first `prefix` bytes. False: some piece is not known.
  bool add(std::string_view left, std::string_view right, size_t prefix = 0);
  MergeTable build() &&;

 private:
  struct Entry {
    int32_t left, right, merged;
  };
  const Vocabulary& vocabulary_;
  std::vector<Entry> entries_;
  std::string merged_;
  int32_t last_ = -1;
};

// What becomes of a character that is no piece.
struct BpeOptions {
  bool bytes = false;          // pieces are raw bytes; the vocabulary spells them in glyphs
  bool byte_fallback = false;  // its bytes as <0xNN>
  bool whole_pieces = false;   // a piece that is in the vocabulary is not merged but taken
  int32_t unk = -1;            // else this; -1: it vanishes
  bool fuse_unk = false;       // neighbours become one
  std::string continuing_prefix, word_suffix;
  // SentencePiece: characters without a piece may still merge; unknown is decided after merging.
  bool late_unknown = false;
  std::vector<int32_t> unused;  // ids that are taken apart again after merging
};

class Bpe final : public SubwordModel {
 public:
  Bpe(Vocabulary vocabulary, MergeTable merges, BpeOptions options,
      std::vector<std::pair<std::string, int32_t>> loose_characters = {});
  void encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  void encode_word(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const;
  void encode_uncached(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const;
  void start_bytes(std::string_view word, EncodeScratch& scratch) const;
  void start_characters(std::string_view word, EncodeScratch& scratch) const;
  void start_late(std::string_view word, EncodeScratch& scratch) const;
  void merge_short(EncodeScratch& scratch) const;
  void merge_long(EncodeScratch& scratch) const;
  void note_split(EncodeScratch& scratch, int32_t merged, int32_t left, int32_t right) const;
  void emit_late(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const;
  void emit_undone(int32_t id, const EncodeScratch& scratch, int depth, std::vector<int32_t>& out) const;
  int32_t character(std::string_view c) const;
  int32_t whole_piece(std::string_view word) const;
  void find_joints();
  bool joined(uint32_t left, uint32_t right) const { return joints_[left * kClasses + right] != 0; }
  uint32_t class_of(std::string_view text, size_t at, size_t& size) const;

  MergeTable merges_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_;   // id of a byte's glyph (bytes) or of <0xNN>; -1: none
  std::array<int32_t, 128> ascii_ids_;  // id of an ASCII character
  bool has_byte_pieces_ = false;        // all 256 of <0xNN>
  Vocabulary raw_pieces_;               // bytes and whole_pieces: the pieces as bytes
  Vocabulary loose_;                    // characters that are no piece but may merge, as ids past the end
  std::vector<bool> is_unused_;
  size_t longest_piece_ = 0;
  // Pairs of neighbouring characters that stand next to each other in some piece, by class: a byte, or ASCII,
  // the mark U+2581 and all others. Empty: texts are not cut.
  static constexpr uint32_t kClasses = 256, kMarkClass = 128, kOtherClass = 129;
  std::vector<uint8_t> joints_;
};

}  // namespace mneme
