// Activation functions, and the gated product of Llama's feed-forward layer.
//
//   relu  silu(x) = x sigmoid(x)  gelu(x) = x Phi(x) (erf)  gelu_tanh: GPT-2's approximation of it
//   swiglu(gate, up) = silu(gate) * up
//
// fp32 and bf16 on the CPU run in kernels, forward and backward one pass over memory each (nothing but the
// inputs is kept; first derivatives only); all else runs on libtorch's own operations. In bf16 swiglu rounds
// once, where two separate operations round twice.
#pragma once

#include "tensor/tensor.h"

namespace mneme {

enum class Activation { relu, silu, gelu, gelu_tanh };

// (No functions named gelu or silu: argument-dependent lookup would confuse them with libtorch's.)
Tensor activate(Activation f, const Tensor& x);

// gate, up [..., F] -> [..., F]. Halves of one projection may be passed as they are: rows may have a stride.
Tensor swiglu(const Tensor& gate, const Tensor& up);
// Both in one tensor, gate first: [..., 2F] -> [..., F]. Its gradient is one tensor as well.
Tensor swiglu_packed(const Tensor& gate_up);

Tensor activate_reference(Activation f, const Tensor& x);
Tensor swiglu_reference(const Tensor& gate, const Tensor& up);

}  // namespace mneme
