// The kernels of ops/cross_entropy_kernels.h on the vectors of ops/elementwise_vector.h. Included by
// cross_entropy_{baseline,avx2,avx512}.cc only.
#pragma once

#include "ops/cross_entropy_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

constexpr int64_t kWide = 32;  // columns of a block

MNEME_INLINE bool any_greater(Vf a, Vf b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
#else
  (void)a, (void)b;
  return true;
#endif
}

// A row with its bias. Columns that do not count are as low as an ignored logit can be.
MNEME_INLINE const float* whole_row(const LogitBlock& block, int64_t r, float* room) {
  const float* z = block.z + r * kWide;
  if (!block.bias && block.columns == kWide) return z;
  for (int64_t n = 0; n < block.columns; ++n) room[n] = z[n] + (block.bias ? block.bias[n] : 0.0f);
  for (int64_t n = block.columns; n < kWide; ++n) room[n] = -__builtin_inff();
  return room;
}

void fold(const LogitBlock& block, float* state) {
  float room[kWide];
  for (int64_t r = 0; r < block.rows; ++r, state += kFoldState) {
    const float* z = whole_row(block, r, room);
    for (int64_t i = 0; i < kFoldLanes; i += kLanes) {
      const Vf a = load(z + i, Full{}), b = load(z + kFoldLanes + i, Full{});
      const Vf before = load(state + i, Full{});
      Vf sum = load(state + kFoldLanes + i, Full{});
      Vf most = (a > before) ? a : before;
      most = (b > most) ? b : most;
      if (any_greater(most, before)) {
        sum *= exponential(before - most);
        store(state + i, most, Full{});
      }
      sum += exponential(a - most) + exponential(b - most);
      store(state + kFoldLanes + i, sum, Full{});
    }
  }
}

void gradient(const LogitBlock& block, const float* lse, const float* scale, const int64_t* target,
              int64_t column, uint16_t* out, int64_t stride) {
  float room[kWide], dz[kWide];
  for (int64_t r = 0; r < block.rows; ++r, out += stride) {
    const float* z = whole_row(block, r, room);
    for (int64_t i = 0; i < kWide; i += kLanes) {
      store(dz + i, exponential(load(z + i, Full{}) - lse[r]) * scale[r], Full{});
    }
    const int64_t hit = target[r] - column;
    if (hit >= 0 && hit < block.columns) dz[hit] -= scale[r];
    if (block.columns == kWide) {
      for (int64_t i = 0; i < kWide; i += kLanes) store(out + i, load(dz + i, Full{}), Full{});
    } else {
      for (int64_t i = 0; i < block.columns; i += kLanes) {
        const int64_t left = block.columns - i;
        store(out + i, load(dz + i, Full{}), Tail{static_cast<int>(left < kLanes ? left : kLanes)});
      }
    }
  }
}

constexpr CrossEntropyKernels kTable{fold, gradient};

}  // namespace
}  // namespace mneme
