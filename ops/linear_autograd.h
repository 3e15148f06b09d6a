// The derivatives of the bf16 and the fp32 linear layer. Internal to ops/linear.cc.
#pragma once

#include "ops/linear.h"

namespace mneme {

// x bf16 or fp32 on the CPU, when one of x, w, bias requires grad and grad mode is on.
Tensor linear_with_grad(const Tensor& x, const Weight& w, const Tensor& bias);

}  // namespace mneme
