// C = A B in bf16 with fp32 sums, over raw memory: blocking for the caches and sharing out among the threads.
// What becomes of C is the caller's business: a Sink gets it block by block, once each, while it is still in
// L1.
//
// No tensors here; those are in ops/gemm.h.
#pragma once

#include <cstdint>

#include "ops/gemm_kernels.h"
#include "ops/gemm_threads.h"

namespace mneme::gemm {

// A [m, k]: rows `stride` elements apart; transposed: the memory is [k, m].
struct Left {
  const Bf16* data = nullptr;
  int64_t stride = 0;
  bool transposed = false;
};

// B [k, n], packed: panels of 32 columns, `panel_stride` elements apart (more than k needs when k is a part
// of the depth that was packed).
struct Right {
  const Bf16* data = nullptr;
  int64_t panel_stride = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  // c [32][32], of which rows x columns count; they stand at (row, column) of C. Called from thread `thread`
  // (< max_threads()), never twice for one place.
  virtual void take(const float* c, int64_t row, int64_t column, int64_t rows, int64_t columns,
                    int thread) = 0;
};

void multiply(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, Sink& sink);

// Packing of a whole B, in parallel. `out` has packed_size(n, k) elements, aligned to 64 bytes.
inline int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
inline int64_t packed_size(int64_t n, int64_t k) { return round_up(n, kBlock) * round_up(k, kBlock); }
void pack_right_nk(const Bf16* source, int64_t stride, int64_t n, int64_t k, Bf16* out);   // source [n, k]
void pack_right_kn(const Bf16* source, int64_t stride, int64_t n, int64_t k, Bf16* out);   // source [k, n]
void pack_right_nk(const float* source, int64_t stride, int64_t n, int64_t k, Bf16* out);  // source [n, k]
void pack_right_kn(const float* source, int64_t stride, int64_t n, int64_t k, Bf16* out);  // source [k, n]

}  // namespace mneme::gemm
