// The two halves of norm.h on the CPU, without gradients: norm_autograd.cc ties them together.
#pragma once

#include "tensor/tensor.h"

namespace mneme {

enum class NormKind { rms, layer };

struct NormResult {
  Tensor y, sum;      // sum undefined without delta
  Tensor mean, rstd;  // [N] fp32; undefined unless asked for, mean also for rms
};

// delta and bias may be undefined; `keep`: the statistics are wanted for the backward pass.
NormResult norm_forward(NormKind kind, const Tensor& x, const Tensor& delta, const Tensor& weight,
                        const Tensor& bias, double eps, bool keep);

struct NormGradients {
  Tensor dx, dweight, dbias;
};

// x is what was normalised (the sum in the residual forms); dsum, its own gradient, may be undefined.
struct NormSaved {
  Tensor x, weight, mean, rstd;
};
NormGradients norm_backward(NormKind kind, const NormSaved& saved, const Tensor& dy, const Tensor& dsum,
                            bool want_weight, bool want_bias);

}  // namespace mneme
