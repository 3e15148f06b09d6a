// How the slots of a landmark window lie: which is a landmark, at what position each stands, and how closed
// blocks leave the window for the kept ones. A row holds
//
//   working             slots of the window so far: [context-miss token] open block's slots, text and
//   landmarks;
//                       keys rotated by the window's positions
//   caches["blocks"]    kept blocks, a page each: block + 1 slots, keys rotated by their place in the block
//   tensors["landmarks.n"]  the kept landmarks' keys once more, what is searched: parts [L, G, N, K], in
//   order;
//                       only the last one grows, so that closing a window costs the same however many are
//                       kept
//   numbers["closed"]   blocks ever closed
//   numbers["missing"]  text tokens that the text's first block lacks (training)
#pragma once

#include "memory/memory.h"
#include "memory/method_options.h"
#include "memory/page_file.h"
#include "ops/landmark_retrieval.h"

namespace mneme {

class LandmarkSlots {
 public:
  LandmarkSlots(const LandmarkMemoryOptions& options, const Row& row);

  int64_t width() const { return width_; }  // slots of a block, its landmark included
  int64_t lead() const { return lead_; }    // context-miss slots at the front of the window
  int64_t kept() const { return kept_; }
  int64_t closed() const { return closed_; }
  int64_t read() const { return read_; }  // blocks that a query reads
  // Place in its block of the window's slot `slot`; width() - 1: a landmark.
  int64_t place(int64_t slot) const { return (slot - lead_ + missing_) % width_; }
  bool is_landmark(int64_t slot) const { return slot >= lead_ && place(slot) == width_ - 1; }
  int64_t missing() const { return missing_; }
  // Position of the window's first slot behind the lead: behind the slots for what is read.
  int64_t base() const;
  bool latest_shifted() const { return parity_ || closed_ > read_; }

 private:
  int64_t width_, lead_, missing_, closed_, kept_, read_, retrieve_;
  bool parity_;
};

// At the opening of a window: blocks that the former one completed are kept, and the open block's slots move
// to their new positions. Says whether there were any. Throws Error{usage} where the row cannot go on. With a
// `file` the kept blocks lie there, not on the heap, which pages of long life among short-lived tensors would
// break up; those that a loaded state brought along are moved there.
bool keep_closed_blocks(const Decoder& decoder, const LandmarkMemoryOptions& options, Row& row,
                        PageFile* file = nullptr);

constexpr int64_t kLandmarkPart = 512;  // landmarks of a part, at most
// The kept landmarks of a layer, [G, n, K] each.
class KeptLandmarks {
 public:
  KeptLandmarks(const Row& row, int64_t kept);
  std::vector<Tensor> of(int64_t layer) const;

 private:
  std::vector<Tensor> parts_;  // [L, G, n, K]
};

int64_t block_bytes(const Decoder& decoder, const LandmarkMemoryOptions& options);  // of one kept block

// Turns by the same number of positions per row; without rotary positions, as it is. x [B, T, G, K].
Tensor turned(const Decoder& decoder, const Tensor& x, const std::vector<int64_t>& by);

}  // namespace mneme
