// Matrix multiplication with AVX-512: vdpbf16ps where the processor gains by it, else pairs widened to fp32.
#include <immintrin.h>

#include "ops/gemm_kernels.h"
#include "ops/gemm_pack_avx512.h"

namespace mneme::gemm {
namespace {

__m512i broadcast_pair(const Bf16* a) {
  int both;
  __builtin_memcpy(&both, a, sizeof both);
  return _mm512_set1_epi32(both);
}

struct WithBf16 {
  __m512bh low, high;
  explicit WithBf16(const Bf16* b)
      : low(reinterpret_cast<__m512bh>(_mm512_loadu_si512(b))),
        high(reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + kStep / 2))) {}
  void add(const Bf16* a, __m512& left, __m512& right) const {
    const auto x = reinterpret_cast<__m512bh>(broadcast_pair(a));
    left = _mm512_dpbf16_ps(left, x, low);
    right = _mm512_dpbf16_ps(right, x, high);
  }
};

struct Widened {
  __m512 even[2], odd[2];
  static __m512 first(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  static __m512 second(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  explicit Widened(const Bf16* b) {
    for (int h = 0; h < 2; ++h) {
      const __m512i pairs = _mm512_loadu_si512(b + h * (kStep / 2));
      even[h] = first(pairs);
      odd[h] = second(pairs);
    }
  }
  void add(const Bf16* a, __m512& left, __m512& right) const {
    const __m512i pairs = broadcast_pair(a);
    const __m512 x = first(pairs), y = second(pairs);
    left = _mm512_fmadd_ps(y, odd[0], _mm512_fmadd_ps(x, even[0], left));
    right = _mm512_fmadd_ps(y, odd[1], _mm512_fmadd_ps(x, even[1], right));
  }
};

// `Rows` rows by 32 columns over `steps`. Two sets of sums when there are few rows, to hide the latency of
// adding.
template <class Unit, int Rows>
void strip(const Bf16* a, int64_t a_stride, int64_t a_step, const Bf16* b, float* c, int64_t steps,
           bool fresh) {
  constexpr int kSets = Rows <= 4 ? 2 : 1;
  __m512 left[kSets][Rows], right[kSets][Rows];
  for (int s = 0; s < kSets; ++s) {
    for (int r = 0; r < Rows; ++r) {
      left[s][r] = fresh || s ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * kBlock);
      right[s][r] = fresh || s ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * kBlock + 16);
    }
  }
  for (int64_t step = 0; step < steps; ++step, a += a_step, b += kStep) {
    for (int64_t pair = 0; pair < kBlock / 2; pair += kSets) {
      for (int s = 0; s < kSets; ++s) {
        const Unit unit(b + (pair + s) * kBlock);
        for (int r = 0; r < Rows; ++r) unit.add(a + r * a_stride + 2 * (pair + s), left[s][r], right[s][r]);
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    if constexpr (kSets == 2) {
      left[0][r] = _mm512_add_ps(left[0][r], left[1][r]);
      right[0][r] = _mm512_add_ps(right[0][r], right[1][r]);
    }
    _mm512_storeu_ps(c + r * kBlock, left[0][r]);
    _mm512_storeu_ps(c + r * kBlock + 16, right[0][r]);
  }
}

void block(const Bf16* a, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch) {
  for (int64_t r = 0; r < kBlock; r += 8) {
    strip<WithBf16, 8>(a + r * kBlock, kBlock, kStep, b, c + r * kBlock, steps, fresh);
  }
}

// The same for A in fp32: only B is widened here, once for as many rows as there are registers for sums.
template <int Rows>
void wide_strip(const float* a, const Bf16* b, float* c, int64_t steps, bool fresh) {
  __m512 left[Rows], right[Rows];
  for (int r = 0; r < Rows; ++r) {
    left[r] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * kBlock);
    right[r] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * kBlock + 16);
  }
  for (int64_t step = 0; step < steps; ++step, a += kStep, b += kStep) {
    for (int64_t pair = 0; pair < kBlock / 2; ++pair) {
      const Widened unit(b + pair * kBlock);
      for (int r = 0; r < Rows; ++r) {
        const __m512 x = _mm512_set1_ps(a[r * kBlock + 2 * pair]),
                     y = _mm512_set1_ps(a[r * kBlock + 2 * pair + 1]);
        left[r] = _mm512_fmadd_ps(y, unit.odd[0], _mm512_fmadd_ps(x, unit.even[0], left[r]));
        right[r] = _mm512_fmadd_ps(y, unit.odd[1], _mm512_fmadd_ps(x, unit.even[1], right[r]));
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    _mm512_storeu_ps(c + r * kBlock, left[r]);
    _mm512_storeu_ps(c + r * kBlock + 16, right[r]);
  }
}

void wide_block(const Bf16* packed, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch) {
  const float* a = reinterpret_cast<const float*>(packed);
  wide_strip<11>(a, b, c, steps, fresh);
  wide_strip<11>(a + 11 * kBlock, b, c + 11 * kBlock, steps, fresh);
  wide_strip<10>(a + 22 * kBlock, b, c + 22 * kBlock, steps, fresh);
}

template <class Unit>
void rows(const Bf16* x, int64_t m, const Bf16* b, float* c, int64_t steps) {
  const int64_t stride = steps * kBlock;
  switch (m) {
    case 1:
      return strip<Unit, 1>(x, stride, kBlock, b, c, steps, true);
    case 2:
      return strip<Unit, 2>(x, stride, kBlock, b, c, steps, true);
    case 3:
      return strip<Unit, 3>(x, stride, kBlock, b, c, steps, true);
    case 4:
      return strip<Unit, 4>(x, stride, kBlock, b, c, steps, true);
    case 5:
      return strip<Unit, 5>(x, stride, kBlock, b, c, steps, true);
    case 6:
      return strip<Unit, 6>(x, stride, kBlock, b, c, steps, true);
    case 7:
      return strip<Unit, 7>(x, stride, kBlock, b, c, steps, true);
    default:
      return strip<Unit, 8>(x, stride, kBlock, b, c, steps, true);
  }
}

template <bool kBf16>
int64_t spin(int64_t rounds) {
  constexpr int kSums = 16;
  __m512 sum[kSums], x = _mm512_setzero_ps();
  for (__m512& s : sum) s = x;
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(x));  // so that no product can be moved out of the loop
    for (__m512& s : sum) {
      if constexpr (kBf16) {
        s = _mm512_dpbf16_ps(s, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(x));
      } else {
        s = _mm512_fmadd_ps(x, x, s);
      }
    }
  }
  for (__m512& s : sum) asm volatile("" : : "v"(s));
  return rounds * kSums * (kBf16 ? 32 : 16);
}

void nothing() {}

template <class Unit>
Kernels make(const char* name, bool multiplies, bool rounds) {
  Kernels table{};
  table.name = name;
  table.begin = nothing;
  table.end = nothing;
  table.a_words = multiplies ? 1 : 2;
  table.block = multiplies ? block : wide_block;
  table.few = 8;
  table.rows = rows<Unit>;
  table.spin = multiplies ? spin<true> : spin<false>;
  use_avx512_packing(table, rounds);
  return table;
}

}  // namespace

const Kernels& avx512_kernels(bool multiplies, bool rounds) {
  static const Kernels all = make<WithBf16>("avx512-bf16", true, true),
                       rounding = make<Widened>("avx512", false, true),
                       neither = make<Widened>("avx512-nobf16", false, false);
  return multiplies ? all : rounds ? rounding : neither;
}

}  // namespace mneme::gemm
