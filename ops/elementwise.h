// What the files that call the elementwise kernels share: which tensors the kernels take, and how work is cut
// into pieces for the threads. Not for use outside ops/.
#pragma once

#include <algorithm>

#include "ops/elementwise_kernels.h"
#include "tensor/tensor.h"

namespace mneme {

// fp32 or bf16 in the memory of the CPU; everything else goes through the references.
inline bool kernel_type(const Tensor& t) {
  return t.device().is_cpu() && t.layout() == at::kStrided &&
         (t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16);
}

// The [type] index of the kernel table.
inline int type_index(const Tensor& t) { return t.scalar_type() == at::kBFloat16 ? 1 : 0; }

inline bool wants_gradient(const Tensor& t) { return t.defined() && t.requires_grad(); }

// fp32 for the narrow types, the type itself otherwise: what references compute in.
inline at::ScalarType arithmetic_type(const Tensor& t) {
  return t.scalar_type() == at::kBFloat16 || t.scalar_type() == at::kHalf ? at::kFloat : t.scalar_type();
}

// Rows a thread takes at least, so that waking it is worth it.
inline int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

// Pieces whose borders depend on the sizes alone: sums over them have the same bits whatever the thread
// count.
struct Pieces {
  int64_t count, size;
};
inline Pieces fixed_pieces(int64_t rows, int64_t at_least, int64_t at_most) {
  const int64_t count = std::clamp<int64_t>(rows / std::max<int64_t>(1, at_least), 1, at_most);
  return {count, std::max<int64_t>(1, (rows + count - 1) / count)};
}

// f(begin, end) over 0..n in pieces that are multiples of 64 elements.
template <class F>
void parallel_elements(int64_t n, const F& f) {
  constexpr int64_t kBlock = 64;
  at::parallel_for(0, (n + kBlock - 1) / kBlock, 16384 / kBlock,
                   [&](int64_t begin, int64_t end) { f(begin * kBlock, std::min(end * kBlock, n)); });
}

}  // namespace mneme
