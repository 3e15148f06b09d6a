// Landmark Attention (Mohtashami and Jaggi, arXiv 2305.16300): a landmark token closes every block of `block`
// text tokens. Within a window the softmax is grouped (ops/landmark_attention.h): an earlier block's landmark
// wins weight against the own block's tokens and hands it to the tokens of its block. Blocks that were closed
// before the window are kept, and each query reads the best of them, found by their landmarks' keys.
//
//   slots of a window    [open block's tokens so far | text with landmarks]
//   positions            kept blocks in slots 0..k of block + 1 positions, then the window, so that no
//                        position exceeds those of training, however long the text (the original's "stingy")
//
// Nobody outside sees a landmark: they are put in here, and their hidden vectors are left out. Training reads
// a whole text as one window, without retrieval; there is no gradient through kept blocks.
#pragma once

#include <mutex>

#include "memory/landmark_slots.h"
#include "memory/memory.h"
#include "memory/method_options.h"
#include "memory/pass.h"

namespace mneme {

class Landmark : public Memory {
 public:
  Landmark(const Decoder& decoder, const LandmarkMemoryOptions& options);

  void initial(Row& row) const override;
  int64_t room(const Row& row) const override { return options_.segment - row.phase; }
  int64_t training_room(const Row&) const override {
    return options_.block > 0 ? kUnbounded : options_.segment;
  }
  int64_t extra_slots(int64_t segment) const override {
    return options_.block > 0 ? segment / options_.block : 0;
  }
  void open(const Step& step, State& state) const override;
  Tensor extend(const Step& step, State& state) const override;
  void close(const Step& step, State& state) const override;
  // In training: the whole call as one window.
  std::optional<Reading> extend_segments(const Batch& batch, State& state, const Draws* draws) const override;

  int64_t extra_labels(const Tensor& labels, const std::vector<int64_t>& count,
                       const Draws* draws) const override;
  std::vector<int64_t> unspoken() const override;
  std::vector<Breach> breaches() const override;
  int64_t bound() const override;
  std::vector<Parameter> parameters() override;
  void initialise(uint64_t seed) override;
  void to(at::Device device, at::ScalarType type) override;

 protected:
  // The gap of positions behind a landmark in training; `slot` counts the row's slots of the call.
  virtual int64_t gap(const Draws& draws, int64_t row, int64_t slot) const;

 private:
  struct Predicting;
  RowSlots slots_of(const Step& step, const Span& span, Row& row, Predicting& from) const;
  void put_extra(const Step& step, const std::vector<Predicting>& from, const Tensor& hidden) const;
  int64_t missing(const Draws& draws, int64_t row) const;  // text tokens that the row's first block lacks
  std::shared_ptr<PageFile> page_file() const;             // null: kept blocks lie on the heap
  int64_t window_slots() const;                            // of a window of the method's own grid, at most

  const Decoder& decoder_;
  LandmarkMemoryOptions options_;
  Tensor landmark_;  // [1, E], where the landmark is no token of the vocabulary
  Tensor miss_;      // [1, E], the context-miss token
  mutable std::mutex file_lock_;
  mutable std::shared_ptr<PageFile> file_;  // all rows share it
};

}  // namespace mneme
