// Cross entropy through the head without autograd: once on the kernels (bf16 on the CPU), once on libtorch.
// All targets count here. Internal to ops/cross_entropy*.cc.
#pragma once

#include "ops/cross_entropy.h"

namespace mneme {

struct HeadLossInput {
  Tensor hidden;   // [N, D]
  Weight head;     // [V, D]
  Tensor bias;     // [V] or undefined
  Tensor targets;  // [N] int64, contiguous, in range
};

struct Wanted {
  bool hidden, head, bias;
};
struct HeadGradients {
  Tensor hidden, head, bias;  // head and bias in fp32 (fp64 for fp64)
};

LossResult head_loss(const HeadLossInput& in, bool want_correct);
// scale [N]: the gradient that arrives at each loss.
HeadGradients head_loss_backward(const HeadLossInput& in, const Tensor& lse, const Tensor& scale,
                                 Wanted wanted);

// The two ways of computing it.
LossResult head_loss_cpu(const HeadLossInput& in, bool want_correct);
HeadGradients head_loss_backward_cpu(const HeadLossInput& in, const Tensor& lse, const Tensor& scale,
                                     Wanted wanted);

// Selects the positions that count, and gives all of it a gradient.
LossResult head_cross_entropy_with_grad(const Tensor& hidden, const Weight& head, const Tensor& bias,
                                        const Tensor& targets, bool want_correct);

}  // namespace mneme
