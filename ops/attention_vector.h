// Vectors of fp32 for the attention kernels and the fp32 products, and 2^x. Included only by
// *_{baseline,avx2,avx512,amx}.cc, which set MNEME_VECTOR_BYTES to the width of their instruction
// set. Everything has internal linkage, and no header with inline functions is included: the same names are
// different code in each of those files.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mneme {
namespace {

#define MNEME_INLINE inline __attribute__((always_inline))

constexpr int kLanes = MNEME_VECTOR_BYTES / 4;
constexpr int kParts = 16 / kLanes;  // vectors in 16 columns
typedef float Vf __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef int32_t Vi __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef uint32_t Vu __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef uint16_t Vh __attribute__((vector_size(MNEME_VECTOR_BYTES / 2)));

template <class V, class T>
MNEME_INLINE V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
MNEME_INLINE void store(T* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

MNEME_INLINE Vf splat(float x) { return x - Vf{}; }  // + would turn -0 into 0, and cost an addition
MNEME_INLINE Vf larger(Vf a, Vf b) {
#if defined(__AVX512F__)
  return (Vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__x86_64__)
  return (Vf)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
MNEME_INLINE Vf count_up() {
  Vf v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<float>(i);
  return v;
}

MNEME_INLINE float number(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

// kLanes elements at p, as numbers.
MNEME_INLINE Vf numbers(const float* p) { return load<Vf>(p); }
MNEME_INLINE Vf numbers(const uint16_t* p) { return (Vf)(__builtin_convertvector(load<Vh>(p), Vu) << 16); }

// Numbers as bf16, rounded to nearest even, as at::BFloat16 does.
MNEME_INLINE Vu halves(Vf x) {
  const Vu bits = (Vu)x;
  const Vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (x == x) ? rounded : (Vu{} + 0x7fc0);
}

#if defined(__AVX512BF16__)
// bf16 of 32 numbers in order.
MNEME_INLINE Vu in_order(Vf first, Vf second) {
  return (Vu)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}
// Pairs (low[i], high[i]); ties round up.
MNEME_INLINE Vu pairs(Vf low, Vf high) {
  const __m512i a = (__m512i)((Vu)low + 0x8000), b = (__m512i)((Vu)high + 0x8000);
  return (Vu)_mm512_mask_alignr_epi8(b, 0x3333333333333333, a, a, 2);  // the low halves from a's high ones
}
#else
MNEME_INLINE Vu pairs(Vf low, Vf high) { return halves(low) | (halves(high) << 16); }
#endif

// The sum and the largest of the lanes.
MNEME_INLINE float sum_lanes(Vf v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#else
  float lane[kLanes];
  store(lane, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
#endif
}
MNEME_INLINE float largest_lane(Vf v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
  float lane[kLanes];
  store(lane, v);
  float top = lane[0];
  for (int i = 1; i < kLanes; ++i) top = lane[i] > top ? lane[i] : top;
  return top;
#endif
}

// 2^x for x <= 0 or a little more: exactly 1 at 0, 0 far below. Rough: to 1e-4, under the rounding of bf16
// weights; else to 1e-7.
template <bool kRough>
MNEME_INLINE Vf exp2_of(Vf x) {
#if defined(__AVX512F__)
  // 2^r for the fraction r in [0, 1), then the whole part goes into the exponent.
  const Vf r = (Vf)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF);
  Vf p;
  if constexpr (kRough) {
    p = r * 0.07706721317f + 0.2276448046f;
    p = p * r + 0.6951168285f;
  } else {
    p = r * 0.00186713223f + 0.009017025838f;
    p = p * r + 0.05579991622f;
    p = p * r + 0.2401644493f;
    p = p * r + 0.6931513119f;
  }
  return (Vf)_mm512_scalef_ps((__m512)(p * r + 1.0f), (__m512)x);
#else
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Vf shifted = x + magic;
  const Vf r = x - (shifted - magic);
  Vf p;
  if constexpr (kRough) {
    p = r * 0.05500894066f + 0.2422110294f;
    p = p * r + 0.6932829338f;
  } else {
    p = r * 0.001326472862f + 0.009671513722f;
    p = p * r + 0.0555073375f;
    p = p * r + 0.2402224207f;
    p = p * r + 0.6931469776f;
  }
  const Vi scaled = (Vi)(p * r + 1.0f) + ((Vi)shifted << 23);
  return (x < -126.0f) ? Vf{} : (Vf)scaled;
#endif
}

// Weights may become denormal, which costs a hundred times as much as any other number: they are made 0.
#if defined(__x86_64__)
thread_local uint32_t control_before;
MNEME_INLINE void begin_numbers() {
  control_before = _mm_getcsr();
  _mm_setcsr(control_before | 0x8040);
}
MNEME_INLINE void end_numbers() { _mm_setcsr(control_before); }
#else
MNEME_INLINE void begin_numbers() {}
MNEME_INLINE void end_numbers() {}
#endif

// Words [at, at + 16) of 16 rows, transposed.
MNEME_INLINE void transpose16(uint32_t* to, int64_t to_stride, const uint32_t* const* rows, int64_t at) {
#if defined(__AVX512F__)
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(rows[i] + at);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_si512(to + (i + 4) * to_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_storeu_si512(to + (i + 8) * to_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    _mm512_storeu_si512(to + (i + 12) * to_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
  }
#else
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) store(to + j * to_stride + i, load<uint32_t>(rows[i] + at + j));
  }
#endif
}

}  // namespace
}  // namespace mneme
