// The kernel of dropout.h on tensors, without gradients: dropout_autograd.cc ties it to autograd.
#pragma once

#include "ops/dropout.h"

namespace mneme {

Tensor dropout_forward(const Tensor& x, double p, const std::vector<Site>& sites);

}  // namespace mneme
