// Normalisation over the last dimension, and its fusion with the residual addition before it.
//
//   rms_norm:    y = round(x / sqrt(mean(x^2) + eps)) * weight          (Llama; rounded to x's type in
//   between) layer_norm:  y = (x - mean) / sqrt(var + eps) * weight + bias       (GPT-2, OPT; the bias may be
//   undefined) add_*:       sum = x + delta, normed = norm(sum): what a pre-norm block needs of its residual
//   stream
//
// Statistics are fp32 (float64 for float64). y has x's type; weight and bias may have another (fp32 masters
// with bf16 activations), and their gradients have theirs. fp32 and bf16 on the CPU run in kernels that read
// memory once, with gradients of first order; all else runs through the references, with gradients of any
// order.
#pragma once

#include <utility>

#include "tensor/tensor.h"

namespace mneme {

// x [..., D], weight [D], bias [D] or undefined -> [..., D]
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

// {sum, normed}; x and delta [..., D] of one shape.
std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight,
                                       double eps);
std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& delta, const Tensor& weight,
                                         const Tensor& bias, double eps);

// In plain at:: operations, for every type and device.
Tensor rms_norm_reference(const Tensor& x, const Tensor& weight, double eps);
Tensor layer_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);

}  // namespace mneme
