// The kernels of activation.h on tensors, without gradients: activation_autograd.cc ties them together.
#pragma once

#include <utility>

#include "ops/activation.h"

namespace mneme {

Tensor activate_forward(Activation f, const Tensor& x);
Tensor activate_backward(Activation f, const Tensor& x, const Tensor& dy);

Tensor swiglu_forward(const Tensor& gate, const Tensor& up);
// Writes into dgate and dup, which may be halves of one tensor.
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate,
                     const Tensor& dup);

}  // namespace mneme
