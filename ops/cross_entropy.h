// Softmax cross entropy through a model's head, without the logits [N, V] ever being whole in memory: chunks
// of positions, forwards and backwards (the backward pass computes the logits of a chunk again).
//
//   loss[i] = logsumexp_v(z[i, v]) - z[i, targets[i]],   z = hidden W^T + bias
//
// Positions whose target is negative (-100 by custom) are skipped: no logits are computed for them, their
// loss is 0 and nothing flows back from them. bf16 hidden runs on the kernels of ops/gemm.h, the products of
// fp32 on those of ops/sgemm.h, all else on libtorch.
#pragma once

#include "ops/linear.h"

namespace mneme {

struct LossResult {
  Tensor loss;     // [N] fp32 (fp64 for fp64 hidden); 0 where ignored
  Tensor lse;      // [N] of the same type, without grad; 0 where ignored
  Tensor correct;  // [N] bool, whether the target is the greatest logit; only when asked for, false where
                   // ignored
};

LossResult head_cross_entropy(const Tensor& hidden /* [N, D] */, const Weight& head /* [V, D] */,
                              const Tensor& bias /* [V] or undefined */,
                              const Tensor& targets /* [N] int64 */, bool want_correct = false);

}  // namespace mneme
