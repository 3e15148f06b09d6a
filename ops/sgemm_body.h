// The routines of ops/sgemm_kernels.h on vectors of the width that the including file sets. Included only by
// sgemm_{baseline,avx2,avx512}.cc; everything has internal linkage (see ops/attention_vector.h).
#pragma once

#include "ops/attention_vector.h"
#include "ops/sgemm_kernels.h"

namespace mneme::sgemm {
namespace {

// Sums fill the registers: all but those of a row of B and of an element of A.
#if defined(__AVX512F__)
constexpr int kRows = 14;
#elif defined(__AVX2__)
constexpr int kRows = 6;
#else
constexpr int kRows = 4;
#endif
constexpr int64_t kColumns = 2 * kLanes;
constexpr int64_t kTurnedStride = (kRows + kLanes - 1) / kLanes * kLanes;

#if defined(__AVX2__) && !defined(__AVX512F__)
MNEME_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// The first n < kLanes elements; the rest is zeros, and stays unread and unwritten.
MNEME_INLINE Vf load_first(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (Vf)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(__AVX2__)
  return (Vf)_mm256_maskload_ps(p, first_lanes(n));
#else
  Vf v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

MNEME_INLINE void store_first(float* p, Vf v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// One tile: kCount rows by kVectors vectors, of which `columns` elements count.
template <int kCount, int kVectors, bool kTurned>
MNEME_INLINE void tile(const Strip& strip, const float* b, int64_t column) {
  const float* a = strip.a;
  float* c = strip.c + column;
  for (int r = 0; r < kCount; ++r) {  // read or not, C is about to be written
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + r * strip.stride + v * kLanes, 1);
  }
  Vf sum[kCount][kVectors] = {};
  for (int64_t k = 0; k < strip.depth; ++k, a += kTurned ? kTurnedStride : 1, b += kColumns) {
    Vf right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = load<Vf>(b + v * kLanes);
    for (int r = 0; r < kCount; ++r) {
      const Vf left = splat(a[kTurned ? r : r * kLeftStride]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = left * right[v] + sum[r][v];
    }
  }
  // Unrolled, so that the sums need not leave their registers.
  const int64_t columns = strip.columns - column;
  const float* start = strip.start ? strip.start + column : nullptr;
  if (columns >= kVectors * kLanes) {
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r, c += strip.stride) {
      for (int v = 0; v < kVectors; ++v) {
        if (start) sum[r][v] += load<Vf>(start + r * strip.start_stride + v * kLanes);
        store(c + v * kLanes, sum[r][v]);
      }
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r, c += strip.stride) {
    if constexpr (kVectors == 2) {
      if (start) sum[r][0] += load<Vf>(start + r * strip.start_stride);
      store(c, sum[r][0]);
    }
    constexpr int kLast = kVectors - 1;
    constexpr int64_t kPlace = kLast * kLanes;
    if (start) sum[r][kLast] += load_first(start + r * strip.start_stride + kPlace, columns - kPlace);
    store_first(c + kPlace, sum[r][kLast], columns - kPlace);
  }
}

template <int kCount, bool kTurned>
__attribute__((noinline)) void strip_of(const Strip& strip) {
  const float* b = strip.b;
  for (int64_t column = 0; column < strip.columns; column += kColumns, b += strip.depth * kColumns) {
    if (strip.columns - column > kLanes) {
      tile<kCount, 2, kTurned>(strip, b, column);
    } else {
      tile<kCount, 1, kTurned>(strip, b, column);
    }
  }
}

template <int kCount>
void strip_down_from(int64_t rows, bool turned, const Strip& strip) {
  if (rows == kCount) return turned ? strip_of<kCount, true>(strip) : strip_of<kCount, false>(strip);
  if constexpr (kCount > 1) strip_down_from<kCount - 1>(rows, turned, strip);
}

void pack_left(const float* source, int64_t stride, int64_t rows, int64_t depth, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = source + r * stride;
    float* to = out + r * kLeftStride;
    int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) store(to + k, load<Vf>(from + k));
    if (k < depth) store(to + k, load_first(from + k, depth - k));
  }
}

void pack_left_turned(const float* source, int64_t stride, int64_t rows, int64_t depth, float* out) {
  static_assert(kRows <= kLanes && kTurnedStride == kLanes);
  if (rows == kLanes) {
    for (int64_t k = 0; k < depth; ++k) store(out + k * kLanes, load<Vf>(source + k * stride));
  } else {
    for (int64_t k = 0; k < depth; ++k) store(out + k * kLanes, load_first(source + k * stride, rows));
  }
}

void pack_right(const float* source, int64_t stride, int64_t columns, int64_t depth, float* out) {
  const int64_t first = columns < kLanes ? columns : kLanes, second = columns - first;
  for (int64_t k = 0; k < depth; ++k, source += stride, out += kColumns) {
    store(out, first == kLanes ? load<Vf>(source) : load_first(source, first));
    store(out + kLanes, second == kLanes ? load<Vf>(source + kLanes) : load_first(source + first, second));
  }
}

void pack_right_turned(const float* source, int64_t stride, int64_t columns, int64_t depth, float* out) {
  constexpr int64_t kBlock = 16;
  constexpr int64_t kWide = (kColumns + kBlock - 1) / kBlock * kBlock;
  static_assert(kWide == kColumns || kColumns == 8);
  int64_t k = 0;
  if constexpr (kWide == kColumns) {
    const float zeros[kBlock] = {};
    for (; k + kBlock <= depth; k += kBlock) {
      for (int64_t n = 0; n < kColumns; n += kBlock) {
        const uint32_t* rows[kBlock];
        for (int64_t i = 0; i < kBlock; ++i) {
          rows[i] =
              reinterpret_cast<const uint32_t*>(n + i < columns ? source + (n + i) * stride + k : zeros);
        }
        transpose16(reinterpret_cast<uint32_t*>(out + k * kColumns + n), kColumns, rows, 0);
      }
    }
  }
  for (; k < depth; ++k) {
    float* to = out + k * kColumns;
    for (int64_t n = 0; n < kColumns; ++n) to[n] = n < columns ? source[n * stride + k] : 0.0f;
  }
}

constexpr Kernels table() {
  return {kRows,     kColumns,         kTurnedStride, strip_down_from<kRows>,
          pack_left, pack_left_turned, pack_right,    pack_right_turned};
}

}  // namespace
}  // namespace mneme::sgemm
