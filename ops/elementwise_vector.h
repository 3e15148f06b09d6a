// Vectors of fp32 for the elementwise kernels: loads and stores of fp32 and bf16 rows, a loop over a row, and
// exp, sigmoid and the normal distribution on whole vectors.
//
// Included by elementwise_{baseline,avx2,avx512}.cc only, which set MNEME_VECTOR_BYTES to the width of their
// instruction set. Everything has internal linkage: the same names mean different code in each of those
// files. For that reason too nothing here may include a header with inline functions that other files share.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mneme {
namespace {

#define MNEME_INLINE inline __attribute__((always_inline))

constexpr int kLanes = MNEME_VECTOR_BYTES / 4;
typedef float Vf __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef uint32_t Vu __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef int32_t Vi __attribute__((vector_size(MNEME_VECTOR_BYTES)));
typedef uint16_t Vh __attribute__((vector_size(MNEME_VECTOR_BYTES / 2)));

// What a step of a loop over a row covers: a whole vector, or the row's last n < kLanes elements. Lanes
// beyond those load as 0 and are not stored.
struct Full {};
struct Tail {
  int n;
};

MNEME_INLINE Vf splat(float x) { return Vf{} + x; }

// bf16 is the upper half of an fp32. (GCC 12 makes two halves of __builtin_convertvector.)
MNEME_INLINE Vf widen(Vh h) {
#if defined(__AVX512F__)
  return (Vf)((Vu)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)h) << 16);
#elif defined(__AVX2__)
  return (Vf)((Vu)_mm256_cvtepu16_epi32((__m128i)h) << 16);
#else
  return (Vf)(__builtin_convertvector(h, Vu) << 16);
#endif
}

MNEME_INLINE Vh lower_halves(Vu bits) {
#if defined(__AVX512F__)
  return (Vh)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)bits);
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)bits, (__m256i)bits);
  return (Vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
  return __builtin_convertvector(bits, Vh);
#endif
}

// Rounded to the nearest bf16, ties to even, as at::BFloat16 does; a NaN stays one.
MNEME_INLINE Vu rounded_bits(Vf x) {
  const Vu bits = (Vu)x;
  const Vu rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (x == x) ? rounded : (Vu{} + 0x7fc00000);
}

MNEME_INLINE Vh narrow(Vf x) { return lower_halves(rounded_bits(x) >> 16); }

// The value that a later load of T finds after a store.
MNEME_INLINE Vf as_stored(Vf v, const float*) { return v; }
MNEME_INLINE Vf as_stored(Vf v, const uint16_t*) { return (Vf)(rounded_bits(v) & 0xffff0000u); }

MNEME_INLINE Vf load(const float* p, Full) {
  Vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

MNEME_INLINE Vf load(const uint16_t* p, Full) {
  Vh v;
  __builtin_memcpy(&v, p, sizeof v);
  return widen(v);
}

MNEME_INLINE void store(float* p, Vf v, Full) { __builtin_memcpy(p, &v, sizeof v); }

MNEME_INLINE void store(uint16_t* p, Vf v, Full) {
  const Vh h = narrow(v);
  __builtin_memcpy(p, &h, sizeof h);
}

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
MNEME_INLINE __mmask16 lanes_of(Tail tail) { return static_cast<__mmask16>((1U << tail.n) - 1); }
MNEME_INLINE Vf load(const float* p, Tail tail) { return (Vf)_mm512_maskz_loadu_ps(lanes_of(tail), p); }
MNEME_INLINE Vf load(const uint16_t* p, Tail tail) {
  return widen((Vh)_mm256_maskz_loadu_epi16(lanes_of(tail), p));
}
MNEME_INLINE void store(float* p, Vf v, Tail tail) { _mm512_mask_storeu_ps(p, lanes_of(tail), (__m512)v); }
MNEME_INLINE void store(uint16_t* p, Vf v, Tail tail) {
  _mm256_mask_storeu_epi16(p, lanes_of(tail), (__m256i)narrow(v));
}
#else
// Tails are rare and their code is long, so it stays out of line.
template <class T>
__attribute__((noinline)) Vf load(const T* p, Tail tail) {
  T row[kLanes] = {};
  for (int i = 0; i < tail.n; ++i) row[i] = p[i];
  return load(row, Full{});
}

template <class T>
__attribute__((noinline)) void store(T* p, Vf v, Tail tail) {
  T row[kLanes];
  store(row, v, Full{});
  for (int i = 0; i < tail.n; ++i) p[i] = row[i];
}
#endif

// Zero in the lanes that the step does not cover.
MNEME_INLINE Vf covered(Vf v, Full) { return v; }
MNEME_INLINE Vf covered(Vf v, Tail tail) {
  for (int i = tail.n; i < kLanes; ++i) v[i] = 0;
  return v;
}

template <int k>
struct Slot {};

// Four partial sums, so that additions need not wait for each other.
struct Sum {
  Vf part[4] = {};
  template <int k>
  MNEME_INLINE void add(Vf v, Slot<k>) {
    part[k] += v;
  }
  MNEME_INLINE float total() const {
    const Vf v = (part[0] + part[1]) + (part[2] + part[3]);
    float lanes[kLanes];
    __builtin_memcpy(lanes, &v, sizeof v);
    for (int width = kLanes / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
  }
};

// step(i, Full or Tail, Slot) for the vectors at i of a row of n elements.
template <class Step>
MNEME_INLINE void over_row(int64_t n, Step step) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    step(i, Full{}, Slot<0>{});
    step(i + kLanes, Full{}, Slot<1>{});
    step(i + 2 * kLanes, Full{}, Slot<2>{});
    step(i + 3 * kLanes, Full{}, Slot<3>{});
  }
  for (; i + kLanes <= n; i += kLanes) step(i, Full{}, Slot<0>{});
  if (i < n) step(i, Tail{static_cast<int>(n - i)}, Slot<1>{});
}

MNEME_INLINE Vf square_root(Vf x) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, x);  // GCC 12 warns of its own header in the plain form
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(x);
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// 1 / x to the last bit or two, for x between 1e-37 and 1e37. A division takes sixteen cycles in this width.
MNEME_INLINE Vf reciprocal(Vf x) {
#if defined(__AVX512F__)
  const Vf guess = _mm512_maskz_rcp14_ps(0xffff, x);
  return guess + guess * (1.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

// p * 2^n for |n| < 250; 0 where that is too small, inf where it is too large.
MNEME_INLINE Vf scaled_by_power(Vf p, Vf n) {
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xffff, p, n);
#else
  // In two factors: one exponent field does not reach that far.
  const Vi whole = __builtin_convertvector(n, Vi), half = whole >> 1;
  return p * (Vf)((half + 127) << 23) * (Vf)((whole - half + 127) << 23);
#endif
}

// e^x to about 1e-7 of its value, over the whole range.
MNEME_INLINE Vf exponential(Vf x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  // The result is 0 or inf well before these bounds.
  const Vf bounded = (x > 150.0f) ? splat(150.0f) : (x < -150.0f) ? splat(-150.0f) : x;
  const Vf n = (bounded * 1.44269504f + magic) - magic;
  const Vf r =
      (bounded - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first exact times n
  Vf p = splat(0.00139261762f);
  p = p * r + 0.00836317307f;
  p = p * r + 0.0416665547f;
  p = p * r + 0.166665770f;
  p = p * r + 0.5f;
  p = (p * r) * r + r + 1.0f;
  return scaled_by_power(p, n);
}

// 0 below -85, where the exponential leaves the reach of `reciprocal`.
MNEME_INLINE Vf sigmoid(Vf x) {
  const Vf bounded = (x < -85.0f) ? splat(-85.0f) : x;
  const Vf s = reciprocal(1.0f + exponential(-bounded));
  return (x < -85.0f) ? Vf{} : s;
}

// The normal distribution: its density, and its integral from -inf to x (the Phi of GELU). The tail is
// e^(-x^2/2) R(t) with t = 1 / (1 + a |x|); R was fitted for a relative error of 4e-8.
struct Normal {
  Vf density, integral;
};
MNEME_INLINE Normal normal(Vf x) {
  const Vf magnitude = (x < 0.0f) ? -x : x;
  const Vf bounded = (magnitude > 20.0f) ? splat(20.0f) : magnitude;  // where the bell is 0
  const Vf bell = exponential(-0.5f * bounded * bounded);
  const Vf t = reciprocal(1.0f + 0.2316419f * bounded);
  Vf r = splat(-0.07238203588f);
  r = r * t + 0.2559604037f;
  r = r * t - 0.2161649667f;
  r = r * t + 0.2388863479f;
  r = r * t + 0.006154533249f;
  r = r * t + 0.1049611276f;
  r = r * t + 0.09003615909f;
  r = r * t + 0.09254839344f;
  const Vf tail = bell * (r * t);
  return {bell * 0.3989422804f, (x < 0.0f) ? tail : 1.0f - tail};
}

}  // namespace
}  // namespace mneme
