// The linear layer: y = x W^T + b, and its matrix. The activation's dtype decides the arithmetic:
//   x bf16: bf16 products summed in fp32, y bf16. W may be fp32 (a master weight), bf16 or packed.
//           dx is bf16; dW and db come back in the dtype of W and b, with no bf16 in between.
//   x fp32: the products of ops/sgemm.h, y and dx fp32; dW and db in the dtype of W and b.
// fp64, and everything off the CPU, is libtorch's, with its own derivatives of any order.
//
// A Weight is a handle: copies share the matrix and its packed copies. Packed copies of a plain W are made
// on its first use in a bf16 product (one for y, one for dx) and renewed when W's version counter changes,
// so whoever writes through raw pointers must call bump_version on the tensor. pack() drops the plain W.
//
// This is not a module: it knows no names, no initialisation, no LoRA.
#pragma once

#include <memory>

#include "tensor/tensor.h"

namespace mneme {

class Weight {
 public:
  Weight() = default;
  explicit Weight(Tensor value);  // [N, K] = [out, in]

  // The matrix itself; unpacked afresh, in bf16, when only the packed form is held.
  Tensor value() const;  // [N, K]
  // Rows of the matrix, from either form: the embedding of a tied head.
  Tensor rows(const Tensor& ids) const;  // ids [...] int64 -> [..., K]

  bool defined() const { return state_ != nullptr; }
  int64_t out() const;
  int64_t in() const;
  at::ScalarType dtype() const;
  bool requires_grad() const;
  Weight& set_requires_grad(bool on);

  // For inference: converts to bf16 and holds the packed form only. A weight that requires grad, or is off
  // the CPU, is left alone.
  void pack();
  bool packed() const;

  struct State;
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

Tensor linear(const Tensor& x /* [..., K] */, const Weight& w /* [N, K] */,
              const Tensor& bias = {} /* [N] */);  // [..., N]

}  // namespace mneme
