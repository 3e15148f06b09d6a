// C += rows x panel on vector registers, for words of either kind. See attention_vector.h for who includes
// this.
#pragma once

#include "ops/attention_pack_body.h"

namespace mneme {
namespace {

template <bool kPairs>
MNEME_INLINE Vf multiply_add(Vf sum, uint32_t a, Vf b) {
  if constexpr (kPairs) {
#if defined(__AVX512BF16__)
    return (Vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)), (__m512bh)b);
#endif
  }
  float x;
  __builtin_memcpy(&x, &a, 4);
  return sum + x * b;
}

template <bool kPairs, bool kAdd, int kRows, int kBlocks>
MNEME_INLINE void product_tile(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                               int64_t panel_words, int64_t words) {
  Vf sum[kRows][kBlocks * kParts];
  for (int r = 0; r < kRows; ++r) {
    for (int x = 0; x < kBlocks * kParts; ++x) {
      if constexpr (kAdd) {
        sum[r][x] = load<Vf>(c + r * ldc + x * kLanes);
      } else {
        sum[r][x] = Vf{};
      }
    }
  }
  for (int64_t w = 0; w < words; ++w) {
    Vf column[kBlocks * kParts];
    for (int x = 0; x < kBlocks * kParts; ++x) {
      column[x] = load<Vf>(b + (x / kParts) * panel_words * 16 + w * 16 + (x % kParts) * kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int x = 0; x < kBlocks * kParts; ++x) {
        sum[r][x] = multiply_add<kPairs>(sum[r][x], load<uint32_t>(a + r * lda + w), column[x]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int x = 0; x < kBlocks * kParts; ++x) store(c + r * ldc + x * kLanes, sum[r][x]);
  }
}

// What the attention bodies need of a matrix unit; attention_amx.cc has another.
template <bool kPairsOfHalves>
struct VectorUnit {
  static constexpr bool kPairs = kPairsOfHalves;
  static constexpr int kRows = kLanes == 16 ? 8 : kLanes == 8 ? 4 : 2;
  static constexpr int kBlocks = kLanes == 16 ? 2 : 1;

  // m, n, words: multiples of 16.
  template <bool kAdd>
  static void product(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                      int64_t panel_words, int64_t m, int64_t n, int64_t words) {
    int64_t j = 0;
    for (; j + 16 * kBlocks <= n; j += 16 * kBlocks) {
      for (int64_t i = 0; i < m; i += kRows) {
        product_tile<kPairs, kAdd, kRows, kBlocks>(c + i * ldc + j, ldc, a + i * lda, lda,
                                                   b + j * panel_words, panel_words, words);
      }
    }
    for (; j < n; j += 16) {
      for (int64_t i = 0; i < m; i += kRows) {
        product_tile<kPairs, kAdd, kRows, 1>(c + i * ldc + j, ldc, a + i * lda, lda, b + j * panel_words,
                                             panel_words, words);
      }
    }
  }

  // C += A B, where prepare(i, w, quarter) makes words [w, w + 16) of A's rows i + 4 * quarter and the next
  // three before they are read.
  template <class Prepare>
  static void product_of_prepared(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                                  int64_t panel_words, int64_t m, int64_t n, int64_t words, Prepare prepare) {
    for (int64_t i = 0; i < m; i += 16) {
      for (int64_t x = 0; x < words / 4; ++x) prepare(i, x / 4 * 16, x % 4);
    }
    product<true>(c, ldc, a, lda, b, panel_words, m, n, words);
  }

  // C = A B and, behind it, C2 = A2 B2, all 32 x 32, for whoever calls all parts 0 to 15 in order: a unit
  // beside the vectors does its work between what the caller does there.
  class TwoProducts {
   public:
    TwoProducts(float* to, const uint32_t* a, const uint32_t* b, const uint32_t* a2, const uint32_t* b2,
                int64_t words)
        : to_(to), a_(a), b_(b), a2_(a2), b2_(b2), words_(words) {}
    void part(int64_t i) const {
      if (i != 0) return;
      product<false>(to_, 32, a_, words_, b_, words_, 32, 32, words_);
      product<false>(to_ + 32 * 32, 32, a2_, words_, b2_, words_, 32, 32, words_);
    }

   private:
    float* const to_;
    const uint32_t *const a_, *const b_, *const a2_, *const b2_;
    const int64_t words_;
  };

  static void begin() { begin_numbers(); }
  static void end() { end_numbers(); }
};

}  // namespace
}  // namespace mneme
