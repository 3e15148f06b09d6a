// Scaling under a mask of bytes. See elementwise_vector.h for who includes this.
#pragma once

#include "ops/elementwise_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

MNEME_INLINE Vu load_bytes(const uint8_t* p, Full) {
#if defined(__AVX512F__)
  return (Vu)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (Vu)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  typedef uint8_t Vb __attribute__((vector_size(MNEME_VECTOR_BYTES / 4)));
  Vb v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, Vu);
#endif
}
MNEME_INLINE Vu load_bytes(const uint8_t* p, Tail tail) {
  uint8_t row[kLanes] = {};
  for (int i = 0; i < tail.n; ++i) row[i] = p[i];
  return load_bytes(row, Full{});
}

// y = keep ? x * scale : 0. A dropped NaN or infinity is 0 too.
template <class T>
void masked(const void* x_data, const uint8_t* keep, float scale, void* y_data, int64_t n) {
  const T* x = static_cast<const T*>(x_data);
  T* y = static_cast<T*>(y_data);
  over_row(n, [&](int64_t i, auto part, auto) {
    const Vf scaled = load(x + i, part) * scale;
    store(y + i, (load_bytes(keep + i, part) != 0u) ? scaled : Vf{}, part);
  });
}

}  // namespace
}  // namespace mneme
