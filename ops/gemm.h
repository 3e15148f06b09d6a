// Matrix products of bf16 tensors on the CPU with fp32 sums, and the packed form of a matrix that they read:
// blocks of 32 x 32 in the order of AMX's and vdpbf16ps's operands (ops/gemm_kernels.h), padded with zeros.
//
// No autograd here (ops/linear.h has it), no other dtypes, no other devices.
#pragma once

#include <memory>

#include "ops/gemm_core.h"
#include "tensor/tensor.h"

namespace mneme::gemm {

// The right operand of a product, immutable, shared: `depth` is summed over, `columns` come out.
class PackedMatrix {
 public:
  // For y = x W^T: w [N, K] bf16 or fp32 (rounded to bf16), depth K, columns N.
  static std::shared_ptr<const PackedMatrix> of_rows(const Tensor& w);
  // For dx = dy W: the same w, depth N, columns K.
  static std::shared_ptr<const PackedMatrix> of_columns(const Tensor& w);

  int64_t depth() const { return depth_; }
  int64_t columns() const { return columns_; }
  Right right(int64_t first_column = 0, int64_t first_depth = 0) const;  // both multiples of 32

  // Back to [columns, depth] in bf16: W itself after of_rows.
  Tensor unpack() const;
  // Chosen rows of that: ids [N] int64, contiguous, in range -> [N, depth].
  Tensor rows(const Tensor& ids) const;

 private:
  PackedMatrix(int64_t columns, int64_t depth);
  template <bool kByRows>
  static std::shared_ptr<const PackedMatrix> make(const Tensor& w);
  void copy_row(int64_t column, Bf16* to) const;

  int64_t columns_, depth_, panel_stride_;
  std::shared_ptr<Bf16> data_;
};

// Writes C as bf16 or fp32, with a bias (fp32 or bf16, or none); or adds C to fp32.
class Store : public Sink {
 public:
  Store(const Tensor& out /* [M, N], columns contiguous */, const Tensor& bias = {}, bool add = false);
  void take(const float* c, int64_t row, int64_t column, int64_t rows, int64_t columns, int thread) override;

 private:
  const Kernels& kernel_;
  void* out_;
  int64_t stride_;
  bool bf16_, add_;
  const float* bias_f32_ = nullptr;
  const Bf16* bias_bf16_ = nullptr;
};

// A two-dimensional bf16 tensor with contiguous columns as the left operand.
Left left(const Tensor& a, bool transposed = false);

// x [M, K] bf16 against of_rows(W) (or dy [M, N] against of_columns(W)) -> [M, columns] of type `out`.
Tensor product(const Tensor& x, const PackedMatrix& b, const Tensor& bias = {},
               at::ScalarType out = at::kBFloat16);

// A matrix x [R, K] packed for products dy^T x with several dy. It lives in the thread's memory: one at a
// time.
class PackedRows {
 public:
  explicit PackedRows(const Tensor& x);
  // dy [R, N]^T x -> out [N, K] fp32, added to it if asked.
  void transposed_product(const Tensor& dy, const Tensor& out, bool add = false) const;

 private:
  int64_t depth_, columns_;
  Right right_;
};

// dy [R, N]^T x [R, K] -> [N, K] fp32; `into`: add to this one instead.
Tensor transposed_product(const Tensor& dy, const Tensor& x, const Tensor& into = {});

}  // namespace mneme::gemm
