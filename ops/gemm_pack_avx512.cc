#include "ops/gemm_pack_avx512.h"

#include <immintrin.h>

namespace mneme::gemm {
namespace {

constexpr int64_t kPairs = kBlock / 2;

__mmask32 first32(int64_t n) { return n >= 32 ? ~0u : (n <= 0 ? 0u : (1u << n) - 1); }
__mmask16 first16(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffff : (n <= 0 ? 0 : (1 << n) - 1));
}

// fp32 -> bf16 to nearest, without vcvtneps2bf16; NaN stays NaN.
__m256i narrow_by_integers(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, _mm512_set1_epi32(0x7fc0));
  return _mm512_cvtepi32_epi16(kept);
}

template <bool Bf16Unit>
__m512i narrow(__m512 low, __m512 high) {
  if constexpr (Bf16Unit) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  } else {
    return _mm512_inserti64x4(_mm512_castsi256_si512(narrow_by_integers(low)), narrow_by_integers(high), 1);
  }
}

// 32 elements of a row as bf16, zeros after the first n.
template <bool Bf16Unit>
__m512i load(const Bf16* p, int64_t n) {
  return n >= kBlock ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(first32(n), p);
}
template <bool Bf16Unit>
__m512i load(const float* p, int64_t n) {
  if (n >= kBlock) return narrow<Bf16Unit>(_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16));
  return narrow<Bf16Unit>(_mm512_maskz_loadu_ps(first16(n), p),
                          _mm512_maskz_loadu_ps(first16(n - 16), p + 16));
}

// Transposes 16 x 16 words of 32 bits.
inline void transpose(__m512i* r) {
  __m512i t[16];
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
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

// Two rows of 32 into 32 pairs: low holds columns 0..15, high 16..31.
inline void interleave(__m512i even, __m512i odd, __m512i& low, __m512i& high) {
  const __m512i a = _mm512_unpacklo_epi16(even, odd), b = _mm512_unpackhi_epi16(even, odd);
  const __m512i to_low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i to_high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  low = _mm512_permutex2var_epi64(a, to_low, b);
  high = _mm512_permutex2var_epi64(a, to_high, b);
}

// 32 elements of a row of packed A; wide: as fp32.
template <bool kWide>
void put(Bf16* out, int64_t row, __m512i x) {
  if constexpr (kWide) {
    float* to = reinterpret_cast<float*>(out) + row * kBlock;
    const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(x));
    const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1));
    _mm512_store_si512(to, _mm512_slli_epi32(low, 16));
    _mm512_store_si512(to + 16, _mm512_slli_epi32(high, 16));
  } else {
    _mm512_store_si512(out + row * kBlock, x);
  }
}

template <bool kWide>
void pack_a(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  constexpr int64_t kSize = kWide ? 2 * kStep : kStep;
  for (int64_t r = 0; r < kBlock; ++r) {
    const Bf16* row = source + r * stride;
    Bf16* to = out;
    int64_t k = 0;
    if (r < count) {
      for (; k + kBlock <= depth; k += kBlock, to += kSize) put<kWide>(to, r, _mm512_loadu_si512(row + k));
    }
    for (; k < depth; k += kBlock, to += kSize) {
      put<kWide>(to, r, _mm512_maskz_loadu_epi16(r < count ? first32(depth - k) : 0, row + k));
    }
  }
}

// The two halves of a step of B from rows of K: [16 pairs][16 columns] words each.
template <bool Bf16Unit, class T>
void pair_rows(const T* source, int64_t stride, int64_t count, int64_t depth, __m512i* low, __m512i* high) {
  for (int64_t p = 0; p < kPairs; ++p) {
    const int64_t k = 2 * p;
    // The caller goes along the rows of the memory: the same columns of the next 32 rows come when it
    // returns.
    _mm_prefetch(reinterpret_cast<const char*>(source + (k + kBlock) * stride), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(source + (k + 1 + kBlock) * stride), _MM_HINT_T0);
    const __m512i even = k < depth ? load<Bf16Unit>(source + k * stride, count) : _mm512_setzero_si512();
    const __m512i odd =
        k + 1 < depth ? load<Bf16Unit>(source + (k + 1) * stride, count) : _mm512_setzero_si512();
    interleave(even, odd, low[p], high[p]);
  }
}

template <bool kWide>
void pack_a_t(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  __m512i low[kPairs], high[kPairs];
  for (int64_t k = 0; k < depth; k += kBlock, out += kWide ? 2 * kStep : kStep) {
    pair_rows<true>(source + k * stride, stride, count, depth - k, low, high);
    transpose(low);
    transpose(high);
    for (int64_t r = 0; r < 16; ++r) {
      put<kWide>(out, r, low[r]);
      put<kWide>(out, r + 16, high[r]);
    }
  }
}

template <bool Bf16Unit, class T>
void pack_b_kn(const T* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  __m512i low[kPairs], high[kPairs];
  for (int64_t k = 0; k < depth; k += kBlock, out += kStep) {
    pair_rows<Bf16Unit>(source + k * stride, stride, count, depth - k, low, high);
    for (int64_t p = 0; p < kPairs; ++p) {
      _mm512_store_si512(out + p * kBlock, low[p]);
      _mm512_store_si512(out + kStep / 2 + p * kBlock, high[p]);
    }
  }
}

template <bool Bf16Unit, class T>
void pack_b_nk(const T* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  __m512i words[16];
  for (int64_t k = 0; k < depth; k += kBlock, out += kStep) {
    for (int64_t half = 0; half < 2; ++half) {
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t n = half * 16 + i;
        words[i] = n < count ? load<Bf16Unit>(source + n * stride + k, depth - k) : _mm512_setzero_si512();
      }
      transpose(words);
      for (int64_t p = 0; p < kPairs; ++p)
        _mm512_store_si512(out + half * (kStep / 2) + p * kBlock, words[p]);
    }
  }
}

template <bool Bf16Unit>
void store_bf16(const float* c, int64_t rows, int64_t columns, const float* bias, Bf16* out, int64_t stride) {
  const __mmask16 left = first16(columns), right = first16(columns - 16);
  const __m512 b0 = bias ? _mm512_maskz_loadu_ps(left, bias) : _mm512_setzero_ps();
  const __m512 b1 = bias ? _mm512_maskz_loadu_ps(right, bias + 16) : _mm512_setzero_ps();
  const __mmask32 kept = first32(columns);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 x = _mm512_add_ps(_mm512_loadu_ps(c + r * kBlock), b0);
    const __m512 y = _mm512_add_ps(_mm512_loadu_ps(c + r * kBlock + 16), b1);
    _mm512_mask_storeu_epi16(out + r * stride, kept, narrow<Bf16Unit>(x, y));
  }
}

void store_f32(const float* c, int64_t rows, int64_t columns, const float* bias, float* out, int64_t stride) {
  const __mmask16 left = first16(columns), right = first16(columns - 16);
  const __m512 b0 = bias ? _mm512_maskz_loadu_ps(left, bias) : _mm512_setzero_ps();
  const __m512 b1 = bias ? _mm512_maskz_loadu_ps(right, bias + 16) : _mm512_setzero_ps();
  for (int64_t r = 0; r < rows; ++r, c += kBlock, out += stride) {
    _mm512_mask_storeu_ps(out, left, _mm512_add_ps(_mm512_loadu_ps(c), b0));
    if (right) _mm512_mask_storeu_ps(out + 16, right, _mm512_add_ps(_mm512_loadu_ps(c + 16), b1));
  }
}

void add_f32(const float* c, int64_t rows, int64_t columns, float* out, int64_t stride) {
  const __mmask16 left = first16(columns), right = first16(columns - 16);
  for (int64_t r = 0; r < rows; ++r, c += kBlock, out += stride) {
    const __m512 x = _mm512_add_ps(_mm512_loadu_ps(c), _mm512_maskz_loadu_ps(left, out));
    _mm512_mask_storeu_ps(out, left, x);
    if (!right) continue;
    const __m512 y = _mm512_add_ps(_mm512_loadu_ps(c + 16), _mm512_maskz_loadu_ps(right, out + 16));
    _mm512_mask_storeu_ps(out + 16, right, y);
  }
}

}  // namespace

void use_avx512_packing(Kernels& table, bool bf16) {
  table.pack_a = table.a_words == 2 ? pack_a<true> : pack_a<false>;
  table.pack_a_t = table.a_words == 2 ? pack_a_t<true> : pack_a_t<false>;
  table.pack_b_nk = pack_b_nk<true, Bf16>;  // the unit matters to fp32 sources only
  table.pack_b_kn = pack_b_kn<true, Bf16>;
  table.pack_b_nk_f32 = bf16 ? pack_b_nk<true, float> : pack_b_nk<false, float>;
  table.pack_b_kn_f32 = bf16 ? pack_b_kn<true, float> : pack_b_kn<false, float>;
  table.store_bf16 = bf16 ? store_bf16<true> : store_bf16<false>;
  table.store_f32 = store_f32;
  table.add_f32 = add_f32;
}

}  // namespace mneme::gemm
