// A few queries against a block of keys read as they are stored: decoding, which is bound by the bytes of the
// keys. See attention_vector.h for who includes this. The width is a multiple of 32.
#pragma once

#include "ops/attention_forward_body.h"

namespace mneme {
namespace {

// Lane i of the result: the sum of the lanes of v[i].
#if MNEME_VECTOR_BYTES == 64
MNEME_INLINE Vf sums_of_16(const Vf (&v)[16]) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i) {
    const __m512 x = (__m512)v[2 * i], y = (__m512)v[2 * i + 1];
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
    b[i] =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  for (int i = 0; i < 2; ++i) {
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
  }
  return (Vf)_mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}
#endif

// Scores of one query with 16 keys.
template <bool kPairs, class T>
MNEME_INLINE void direct_scores(float* score, const uint32_t* q, const T* const* k, int64_t width) {
  constexpr int64_t kStep = kPairs ? 2 * kLanes : kLanes;
  Vf sum[16] = {};
  for (int64_t i = 0; i < width; i += kStep) {
    const Vf query = load<Vf>(q + i / (kPairs ? 2 : 1));
    for (int c = 0; c < 16; ++c) {
      if constexpr (kPairs) {
#if defined(__AVX512BF16__)
        sum[c] = (Vf)_mm512_dpbf16_ps((__m512)sum[c], (__m512bh)query, (__m512bh)load<Vf>(k[c] + i));
#endif
      } else {
        sum[c] += query * numbers(k[c] + i);
      }
    }
  }
#if MNEME_VECTOR_BYTES == 64
  store(score, sums_of_16(sum));
#else
  for (int c = 0; c < 16; ++c) score[c] = sum_lanes(sum[c]);
#endif
}

// out [queries, columns] += weights [queries, keys] x values, for kVectors vectors of columns.
template <int kVectors, int kQueries, class T>
MNEME_INLINE void direct_values(float* out, int64_t columns, const float* weight, const T* const* v,
                                int64_t at, int64_t keys) {
  Vf sum[kQueries][kVectors];
  for (int r = 0; r < kQueries; ++r) {
    for (int x = 0; x < kVectors; ++x) sum[r][x] = load<Vf>(out + r * columns + at + x * kLanes);
  }
  for (int64_t j = 0; j < keys; ++j) {
    Vf value[kVectors];
    for (int x = 0; x < kVectors; ++x) value[x] = numbers(v[j] + at + x * kLanes);
    for (int r = 0; r < kQueries; ++r) {
      const Vf w = splat(weight[r * kScoreStride + j]);
      for (int x = 0; x < kVectors; ++x) sum[r][x] += w * value[x];
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    for (int x = 0; x < kVectors; ++x) store(out + r * columns + at + x * kLanes, sum[r][x]);
  }
}

template <int kVectors, class T>
MNEME_INLINE void direct_columns(const DirectTile& t, const T* const* v, int64_t at) {
  const Sights& s = *t.sights;
  int64_t r = 0;
  // As many sums as half the registers hold.
  constexpr int kTogether = kLanes == 16 ? 4 : 2;
  for (; r + kTogether <= s.queries; r += kTogether) {
    direct_values<kVectors, kTogether>(t.out + r * t.columns, t.columns, t.score + r * kScoreStride, v, at,
                                       s.keys);
  }
  for (; r < s.queries; ++r) {
    direct_values<kVectors, 1>(t.out + r * t.columns, t.columns, t.score + r * kScoreStride, v, at, s.keys);
  }
}

template <bool kPairs, class T>
void direct_tile_of(const DirectTile& t) {
  const Sights& s = *t.sights;
  const int64_t columns = padded(s.keys, 32);
  const T* k[kBlockKeys];
  const T* v[kBlockKeys];
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t real = smaller(j, s.keys - 1);  // columns behind the last key repeat it, and are hidden
    k[j] = static_cast<const T*>(t.k[real]);
    v[j] = static_cast<const T*>(t.v[real]);
  }
  for (int64_t j = 0; j < s.keys; j += 16) {
    for (int64_t r = 0; r < s.queries; ++r) {
      direct_scores<kPairs>(t.score + r * kScoreStride + j, t.q + r * t.words, k + j, t.width);
    }
  }
  if (columns != s.keys || sights_matter(s)) apply_sights(s, t.score, columns);
  raise_tops<false>(t.score, s.queries, columns, t.scale_log2, {t.top, t.sum, t.out}, t.columns);
  float shift[kTileQueries];
  shifts(shift, t.top, t.scale_log2);
  for (int64_t word = 0; word < columns; word += 16) {
    weigh<false>(t.score, s.queries, word, t.scale_log2, shift, t.sum, s.factor);
  }
  int64_t at = 0;
  for (; at + 4 * kLanes <= t.width; at += 4 * kLanes) direct_columns<4>(t, v, at);
  if (at < t.width) direct_columns<2>(t, v, at);  // 32 left of 64
}

template <bool kPairs>
void direct_tile(const DirectTile& t, bool half) {
  if (half) {
    direct_tile_of<kPairs, uint16_t>(t);
  } else if constexpr (!kPairs) {
    direct_tile_of<false, float>(t);
  }
}

}  // namespace
}  // namespace mneme
