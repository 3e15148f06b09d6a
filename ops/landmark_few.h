// A few queries of one key head against keys that are read where they lie: decoding, which is bound by their
// bytes. Internal to ops/landmark_*.cc.
#pragma once

#include "ops/landmark_fused.h"

namespace mneme::landmark {

constexpr int64_t kFewLanes = 6;  // up to here packing costs more than it saves

// The running softmax of the queries over the keys read since start().
class FewReader {
 public:
  // width: a multiple of 32.
  FewReader(const KernelChoice& kernels, int64_t width, float scale_log2, bool half, Scratch& scratch);
  static size_t bytes(int64_t width);
  void queries(const void* const* rows, int64_t count);
  void start();
  void read(const void* const* k, const void* const* v, int64_t keys);
  // After at least one key: log2 of the sum, and the mean value [width].
  float log_sum(int64_t lane) const;
  void mean(int64_t lane, float* to) const;

 private:
  float total(int64_t lane) const;

  const KernelChoice kernels_;
  const int64_t width_, words_;
  const float scale_log2_;
  const bool half_;
  int64_t count_ = 0;
  uint32_t* q_ = nullptr;
  float *score_ = nullptr, *out_ = nullptr;
  float top_[kTileQueries], sum_[kTileQueries * 16];
};

// Merges values under scores (base 2) into one softmax: top, sum, and sum of values.
struct Merge {
  float top = kNothing, sum = 0;
  void add(float score, const float* value, int64_t width, float* to);
};

// Whether the few-queries path computes the call: one token.
bool takes_few(const Call& call);
void forward_few(const Call& call, const Strided& out, float* lse);

}  // namespace mneme::landmark
