// The attention of one pass over landmark windows: grouped softmax over each row's window, then what each
// query reads of the kept blocks, merged exactly (ops/landmark_retrieval.h). Keys of kept blocks are neither
// gathered nor turned; the queries are turned once for every place that a block may stand in.
#pragma once

#include "memory/landmark_slots.h"
#include "memory/pass.h"
#include "ops/landmark_attention.h"

namespace mneme {

class LandmarkAttend {
 public:
  // `rows`: the state's rows in the pass's order. With draws: training. `file`: where old blocks lie, or
  // null; not more of it than options.resident stays in memory.
  LandmarkAttend(Pass& pass, std::vector<const Row*> rows, const LandmarkMemoryOptions& options,
                 const Step& step, const PageFile* file);
  Tensor operator()(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v);

 private:
  void lay_out();
  // Keys or values of the windows so far and of the new slots, the former to the left of the latter.
  Tensor joined(int64_t layer, const Tensor& fresh, bool values) const;
  LandmarkOptions options_at(int64_t layer, const Tensor& k) const;
  Tensor miss_keys(int64_t layer, const Tensor& k) const;
  // The window's result together with what row r reads of the kept blocks; q and local [T, H, K], lse [H, T];
  // won, if any: what they share.
  Tensor recalled(int64_t layer, int64_t r, const Tensor& q, const Tensor& local, const Tensor& lse,
                  const Tensor& won);
  Tensor won_by_miss(const Tensor& q, const Tensor& miss, const Tensor& lse) const;
  Tensor turned_queries(int64_t r, const Tensor& q);
  LandmarkPages pages_of(int64_t layer, int64_t r, const Tensor& selected) const;
  void put_trace(int64_t layer, int64_t r, const Tensor& queries, const Tensor& landmarks,
                 const Tensor& selected) const;

  Pass& pass_;
  std::vector<const Row*> rows_;
  std::vector<LandmarkSlots> slots_;
  std::vector<KeptLandmarks> landmarks_;
  const LandmarkMemoryOptions& options_;
  const Step& step_;
  const PageFile* file_;
  LandmarkSearch search_;
  int64_t cached_ = 0;              // slots of the longest window so far
  Tensor is_landmark_, mask_;       // bool [n, cached + T]; no mask: all may be seen
  std::vector<Rotation> rotation_;  // of each row that reads blocks: of its queries, for every place
};

}  // namespace mneme
