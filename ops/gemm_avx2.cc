// Matrix multiplication with AVX2 and FMA: bf16 pairs widened to fp32 as they are read. Packing stays scalar.
#include <immintrin.h>

#include "ops/gemm_scalar.h"

namespace mneme::gemm {
namespace {

__m256 even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
__m256 odd(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

// `Rows` rows by 16 columns: 2 * Rows sums in registers. a points to the first row's K; a step of it is
// a_step on.
template <int Rows>
void strip(const Bf16* a, int64_t a_stride, int64_t a_step, const Bf16* b, float* c, int64_t steps,
           bool fresh) {
  __m256 sum[Rows][2];
  for (int r = 0; r < Rows; ++r) {
    for (int h = 0; h < 2; ++h)
      sum[r][h] = fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(c + r * kBlock + 8 * h);
  }
  for (int64_t s = 0; s < steps; ++s, a += a_step, b += kStep) {
    for (int64_t pair = 0; pair < kBlock / 2; ++pair) {
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + pair * kBlock));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + pair * kBlock + 16));
      const __m256 b00 = even(low), b01 = even(high), b10 = odd(low), b11 = odd(high);
      for (int r = 0; r < Rows; ++r) {
        int both;
        std::memcpy(&both, a + r * a_stride + 2 * pair, sizeof both);
        const __m256i pairs = _mm256_set1_epi32(both);
        const __m256 x = even(pairs), y = odd(pairs);
        sum[r][0] = _mm256_fmadd_ps(y, b10, _mm256_fmadd_ps(x, b00, sum[r][0]));
        sum[r][1] = _mm256_fmadd_ps(y, b11, _mm256_fmadd_ps(x, b01, sum[r][1]));
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int h = 0; h < 2; ++h) _mm256_storeu_ps(c + r * kBlock + 8 * h, sum[r][h]);
  }
}

void block(const Bf16* a, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t r = 0; r < kBlock; r += 4) {
      strip<4>(a + r * kBlock, kBlock, kStep, b + half * (kStep / 2), c + r * kBlock + half * 16, steps,
               fresh);
    }
  }
}

void rows(const Bf16* x, int64_t m, const Bf16* b, float* c, int64_t steps) {
  const int64_t stride = steps * kBlock;
  for (int64_t half = 0; half < 2; ++half) {
    const Bf16* panel = b + half * (kStep / 2);
    int64_t r = 0;
    for (; r + 4 <= m; r += 4)
      strip<4>(x + r * stride, stride, kBlock, panel, c + r * kBlock + half * 16, steps, true);
    for (; r < m; ++r)
      strip<1>(x + r * stride, stride, kBlock, panel, c + r * kBlock + half * 16, steps, true);
  }
}

int64_t spin(int64_t rounds) {
  constexpr int kSums = 12;
  __m256 sum[kSums], x = _mm256_set1_ps(0.5f);
  for (__m256& s : sum) s = x;
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(x));  // so that no product can be moved out of the loop
    for (__m256& s : sum) s = _mm256_fmadd_ps(x, x, s);
  }
  for (__m256& s : sum) asm volatile("" : : "x"(s));
  return rounds * kSums * 8;
}

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels table{"avx2",
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
