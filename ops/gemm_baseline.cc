// Matrix multiplication for processors without AVX2: plain loops that the compiler vectorises as it can.
#include "ops/gemm_scalar.h"

namespace mneme::gemm {
namespace {

// 32 columns of two consecutive rows of B, widened.
void widen_pair(const Bf16* pair, float* even, float* odd) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t n = 0; n < 16; ++n) {
      even[half * 16 + n] = widen(pair[half * (kStep / 2) + 2 * n]);
      odd[half * 16 + n] = widen(pair[half * (kStep / 2) + 2 * n + 1]);
    }
  }
}

void add_rows(const Bf16* a, int64_t a_stride, int64_t m, const Bf16* b, float* c) {
  for (int64_t pair = 0; pair < kBlock / 2; ++pair) {
    float even[kBlock], odd[kBlock];
    widen_pair(b + pair * kBlock, even, odd);
    for (int64_t r = 0; r < m; ++r) {
      const float x = widen(a[r * a_stride + 2 * pair]), y = widen(a[r * a_stride + 2 * pair + 1]);
      float* row = c + r * kBlock;
      for (int64_t n = 0; n < kBlock; ++n) row[n] += x * even[n] + y * odd[n];
    }
  }
}

void block(const Bf16* a, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch) {
  if (fresh) std::memset(c, 0, sizeof(float) * kTileFloats);
  for (int64_t s = 0; s < steps; ++s) add_rows(a + s * kStep, kBlock, kBlock, b + s * kStep, c);
}

void rows(const Bf16* x, int64_t m, const Bf16* b, float* c, int64_t steps) {
  std::memset(c, 0, sizeof(float) * m * kBlock);
  for (int64_t s = 0; s < steps; ++s) add_rows(x + s * kBlock, steps * kBlock, m, b + s * kStep, c);
}

int64_t spin(int64_t rounds) {
  constexpr int kLanes = 32;
  float sum[kLanes] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    for (float& x : sum) x = x * 0.999f + 1.0f;
  }
  volatile float kept = sum[0] + sum[kLanes - 1];
  (void)kept;
  return rounds * kLanes;
}

}  // namespace

const Kernels& baseline_kernels() {
  static const Kernels table{"baseline",
                             nothing,
                             nothing,
                             1,
                             block,
                             8,
                             rows,
                             spin,
                             scalar_pack_a,
                             scalar_pack_a_t,
                             scalar_pack_b_nk<Bf16>,
                             scalar_pack_b_kn<Bf16>,
                             scalar_pack_b_nk<float>,
                             scalar_pack_b_kn<float>,
                             scalar_store_bf16,
                             scalar_store_f32,
                             scalar_add_f32};
  return table;
}

}  // namespace mneme::gemm
