// Rotation of pairs by given angles, for the heads of one token. See elementwise_vector.h for who includes
// this.
#pragma once

#include <utility>

#include "ops/elementwise_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

template <class T>
MNEME_INLINE void copy_rest(const T* x, T* y, int64_t from, int64_t width) {
  if (x == y) return;
  for (int64_t i = from; i < width; ++i) y[i] = x[i];
}

// Pairs (n, n + pairs).
template <class T>
void rotate_half(const RotateRow& row) {
  const float sign = row.inverse ? -1.0f : 1.0f;
  const float *cos = row.cos, *sin = row.sin;
  const int64_t pairs = row.pairs;
  for (int64_t head = 0; head < row.heads; ++head) {
    const T* x = static_cast<const T*>(row.x) + head * row.x_stride;
    T* y = static_cast<T*>(row.y) + head * row.y_stride;
    over_row(pairs, [&](int64_t i, auto part, auto) {
      const Vf a = load(x + i, part), b = load(x + pairs + i, part);
      const Vf c = load(cos + i, part), s = load(sin + i, part) * sign;
      store(y + i, a * c - b * s, part);
      store(y + pairs + i, b * c + a * s, part);
    });
    copy_rest(x, y, 2 * pairs, row.width);
  }
}

template <int... I>
MNEME_INLINE Vf evens(Vf a, Vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...);
}
template <int... I>
MNEME_INLINE Vf odds(Vf a, Vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + 1)...);
}
template <int kFirst, int... I>
MNEME_INLINE Vf zipped(Vf a, Vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (kFirst + I / 2 + (I % 2) * kLanes)...);
}

// kLanes pairs (2 n, 2 n + 1) starting at x.
template <class T>
MNEME_INLINE void rotate_pairs(const T* x, T* y, Vf c, Vf s) {
  constexpr std::make_integer_sequence<int, kLanes> lanes;
  const Vf first = load(x, Full{}), second = load(x + kLanes, Full{});
  const Vf a = evens(first, second, lanes), b = odds(first, second, lanes);
  const Vf p = a * c - b * s, q = b * c + a * s;
  store(y, zipped<0>(p, q, lanes), Full{});
  store(y + kLanes, zipped<kLanes / 2>(p, q, lanes), Full{});
}

template <class T>
MNEME_INLINE void rotate_pairs(const T* x, T* y, Vf c, Vf s, Full) {
  rotate_pairs(x, y, c, s);
}
template <class T>
MNEME_INLINE void rotate_pairs(const T* x, T* y, Vf c, Vf s, Tail tail) {
  T row[2 * kLanes] = {};
  for (int i = 0; i < 2 * tail.n; ++i) row[i] = x[i];
  rotate_pairs(row, row, c, s);
  for (int i = 0; i < 2 * tail.n; ++i) y[i] = row[i];
}

template <class T>
void rotate_interleaved(const RotateRow& row) {
  const float sign = row.inverse ? -1.0f : 1.0f;
  const float *cos = row.cos, *sin = row.sin;
  const int64_t pairs = row.pairs;
  for (int64_t head = 0; head < row.heads; ++head) {
    const T* x = static_cast<const T*>(row.x) + head * row.x_stride;
    T* y = static_cast<T*>(row.y) + head * row.y_stride;
    over_row(pairs, [&](int64_t i, auto part, auto) {
      rotate_pairs(x + 2 * i, y + 2 * i, load(cos + i, part), load(sin + i, part) * sign, part);
    });
    copy_rest(x, y, 2 * pairs, row.width);
  }
}

}  // namespace
}  // namespace mneme
