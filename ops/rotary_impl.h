// The kernels of rotary.h on tensors, without gradients: rotary_autograd.cc ties them to autograd.
#pragma once

#include "ops/rotary.h"

namespace mneme {

void check_rotation(const Tensor& x, const Rotation& rotation);
bool rotate_kernel_takes(const Tensor& x, const Rotation& rotation);
// y may be x.
void rotate_into(const Tensor& x, const Rotation& rotation, bool inverse, const Tensor& y);

}  // namespace mneme
