// What a Weight holds: the plain matrix or the packed one, and packed copies for both directions. Internal to
// ops/.
#pragma once

#include <memory>
#include <mutex>

#include "ops/gemm.h"
#include "ops/linear.h"

namespace mneme {

struct Weight::State {
  using Packed = std::shared_ptr<const gemm::PackedMatrix>;

  explicit State(Tensor value) : plain(std::move(value)) {}

  Packed by_rows();     // for y = x W^T
  Packed by_columns();  // for dx = dy W

  Tensor plain;  // [N, K]; undefined once the packed form is all there is
  struct Copy {
    Packed packed;
    int64_t version = -1;
    const void* data = nullptr;
  };
  Copy rows, columns;
  std::mutex mutex;

 private:
  bool current(const Copy& copy) const;
  void renew(Copy& copy, Packed packed) const;
};

// W as the kernels take it: bf16 or fp32.
Tensor packable(const Tensor& w);

// [..., K] -> [N, K] with contiguous columns; no copy where none is needed.
Tensor as_rows(const Tensor& x);

// The forward product, without autograd.
Tensor linear_forward(const Tensor& x, const Weight& w, const Tensor& bias);

}  // namespace mneme
