// Matrix products in fp32 on the CPU. BLAS is not asked: one that is older than the processor picks kernels
// of a quarter of its speed, without a word.
//
// What an element of C is: the depth is cut into chunks of 256; within a chunk the products are added one
// after the other in the order of k, and the sums of the chunks are added to the start (a bias, what C was,
// or nothing) in their order. That holds whatever the other rows and columns are, how the operands lie in
// memory and how many threads there are: a row's result depends on that row alone, bit for bit. Instruction
// sets differ in whether a product is rounded before it is added (baseline) or not (avx2, avx512).
//
// No autograd here (ops/linear.h has it); other dtypes and devices are libtorch's.
#pragma once

#include "ops/sgemm_kernels.h"
#include "tensor/tensor.h"

namespace mneme {

namespace sgemm {

// A matrix in memory: rows `stride` elements apart. turned: the memory is that of its transpose.
struct Matrix {
  const float* data = nullptr;
  int64_t stride = 0;
  bool turned = false;
};

struct Output {
  float* data = nullptr;
  int64_t stride = 0;
  const float* bias = nullptr;  // a row, or null
  bool add = false;             // to what is there; then without a bias
};

// C [m, n] = A [m, k] B [k, n] (+ bias), or C += A B. C overlaps neither operand.
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Output& c);

const Kernels& kernels();  // of the level in force

}  // namespace sgemm

// a [M, K] b [K, N] + bias [N], of any strides and of one dtype, without autograd. fp32 on the CPU by the
// kernels here, everything else by libtorch.
Tensor matrix_product(const Tensor& a, const Tensor& b, const Tensor& bias = {});
// out [M, N] += a b, in the type of out where that is the wider one. For fp32 on the CPU out is fp32, its
// rows contiguous.
void add_matrix_product(const Tensor& out, const Tensor& a, const Tensor& b);

}  // namespace mneme
