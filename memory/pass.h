// A pass: one run of the decoder over new slots of some rows, with their caches. Every method runs the
// decoder through it. A slot is a token of the text, a sensory token, a landmark, or a memory vector; a row's
// new slots are given as pieces, and rows may bring different numbers of them (the shorter are padded, which
// costs time and changes nothing).
//
// The pass places slots (positions, masks), pads, embeds, appends keys and values to the caches, and returns
// the hidden vectors. The attention is the method's: `attend_joint` is the ordinary one, over the cache and
// the new slots.
#pragma once

#include <optional>
#include <vector>

#include "memory/state.h"
#include "model/decoder.h"
#include "ops/attention.h"
#include "ops/rotary.h"

namespace mneme {

struct Piece {
  Tensor vectors;            // [n, E], or
  std::vector<int64_t> ids;  // tokens to embed
  int64_t size() const { return vectors.defined() ? vectors.size(0) : static_cast<int64_t>(ids.size()); }
};

struct RowSlots {
  std::vector<Piece> pieces;
  KvCache* cache = nullptr;  // earlier slots of the row, which the new ones join
  bool keep = true;          // false: nobody will read these slots again, so they are not stored
  int64_t position = 0;      // of the first new slot
  // For random numbers in training: the batch's row and its segment, and whether the pass is another one than
  // that over the segment itself.
  int64_t text = -1;  // -1: the row's number in the pass
  int64_t segment = 0;
  bool aside = false;
  std::vector<int64_t> positions;  // or of every new slot, where they do not just count up
  std::vector<uint8_t> seen;       // parity with padding: which new slots may be seen; empty: all
  bool count_seen = false;         // positions count only those
  std::vector<uint8_t>* hidden =
      nullptr;  // and which cached ones may not (Row::hidden); grows with the cache
  int64_t size() const;
};

class Pass {
 public:
  Pass(const Decoder& decoder, std::vector<RowSlots> rows, const Draws* draws = nullptr);

  // Runs all layers; commits the caches. -> [n, T, E]
  Tensor run(const Attend& attend);
  Tensor run() {
    return run([this](int64_t l, const Tensor& q, const Tensor& k, const Tensor& v) {
      return attend_joint(l, q, k, v);
    });
  }

  const Decoder& decoder() const { return decoder_; }
  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  int64_t slots() const { return slots_; }                        // T, the longest row's
  const std::vector<int64_t>& counts() const { return counts_; }  // new slots of each row
  const RowSlots& row(int64_t r) const { return rows_[static_cast<size_t>(r)]; }
  const Tensor& positions() const { return positions_; }  // [n, T] int64

  // One joint softmax over `before` (sources of the method), the cache and the new slots; stores the new
  // keys, rotated.
  Tensor attend_joint(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                      std::vector<Keys> before = {}, Tensor* lse = nullptr);

  int64_t
      window;  // sliding window over cache and new slots, 0: none; the model's own unless a method sets it

  // What attend_joint is made of, for methods with an attention of their own.
  Tensor rotated(const Tensor& x) const;                  // by the slots' positions; as is without rotary
  Keys new_keys(const Tensor& k, const Tensor& v) const;  // the new slots as a source (causal)
  std::vector<Keys> cached_keys(int64_t layer) const;     // the rows' caches as a source; empty if all are
  void store(int64_t layer, const Tensor& k, const Tensor& v);  // [n, T, G, K], as they shall be cached
  AttentionOptions attention_options(int64_t layer) const;

 private:
  void place();
  void draw_from(const Draws& draws);
  void commit();
  Tensor embedded() const;  // [n, T, E]

  const Decoder& decoder_;
  std::vector<RowSlots> rows_;
  std::optional<Draws> draws_;  // in training, with the rows' own sites
  int64_t slots_ = 0;
  std::vector<int64_t> counts_;
  bool ragged_ = false, cached_ = false, masked_ = false, contiguous_ = true;
  Tensor positions_;             // [n, T]
  std::vector<int64_t> starts_;  // first positions, where they are contiguous
  Rotation rotation_;            // of the slots, for rotary models
};

// Several caches of one layer as a source for attention: pages in place where no gradient is needed, dense
// otherwise.
Keys cache_source(const std::vector<const KvCache*>& caches, int64_t layer);

}  // namespace mneme
