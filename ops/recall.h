// HMT's recall: one-head cross attention of a query vector over a list of memory vectors, which are keys
// (through Wk) and, as they are, values. No value or output projection, no positions.
//
//   w = softmax(s Wqᵀ (C Wkᵀ)ᵀ / divisor),   P = w C
//
// Everything but the softmax is rounded to `type`, the divisor too: the original computes its recall in bf16.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace mneme {

struct Recalled {
  Tensor vectors;             // [n, E] of the recall's type
  Tensor weights;             // [n, N]
  std::vector<int64_t> best;  // the strongest memory of each row, the first of equals
};

// memories [n, N, E], of which row i has count[i]; queries [n, E]; wq, wk [dh, E].
Recalled recall(const Tensor& memories, const std::vector<int64_t>& count, const Tensor& queries,
                const Tensor& wq, const Tensor& wk, double divisor, at::ScalarType type);

// What the original divides scores by: sqrt(width), or in its training the width itself for wide models.
double recall_divisor(int64_t width, int64_t embed_width, bool as_in_training);

}  // namespace mneme
