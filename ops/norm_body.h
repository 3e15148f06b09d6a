// RMS and layer normalisation of rows, forward and backward. See elementwise_vector.h for who includes this.
//
// A row is read from memory once: its later passes find it in the first-level cache.
#pragma once

#include "ops/elementwise_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

// The sum of squares of the row. With `delta` the row becomes x + delta, rounded to its type and stored in
// `sum`.
template <class X>
MNEME_INLINE float squares(const X* x, const X* delta, X* sum, int64_t n) {
  Sum total;
  if (delta) {
    over_row(n, [&](int64_t i, auto part, auto slot) {
      const Vf v = as_stored(load(x + i, part) + load(delta + i, part), x);
      store(sum + i, v, part);
      total.add(v * v, slot);
    });
  } else {
    over_row(n, [&](int64_t i, auto part, auto slot) {
      const Vf v = load(x + i, part);
      total.add(v * v, slot);
    });
  }
  return total.total();
}

template <class X, class W>
void rms_forward(const NormForward& args, const NormShape& shape) {
  const int64_t n = shape.width;
  const W* weight = static_cast<const W*>(args.weight);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const X* x = static_cast<const X*>(args.x) + row * n;
    const X* delta = args.delta ? static_cast<const X*>(args.delta) + row * n : nullptr;
    X* sum = delta ? static_cast<X*>(args.sum) + row * n : nullptr;
    X* y = static_cast<X*>(args.y) + row * n;
    const float mean_square = squares(x, delta, sum, n) / static_cast<float>(n);
    const float rstd = 1.0f / __builtin_sqrtf(mean_square + shape.eps);
    if (args.rstd) args.rstd[row] = rstd;
    const X* from = delta ? sum : x;
    over_row(n, [&](int64_t i, auto part, auto) {
      // Rounded before the weight as well: that is what the models were trained with.
      const Vf normed = as_stored(load(from + i, part) * rstd, x);
      store(y + i, normed * load(weight + i, part), part);
    });
  }
}

template <class X, class W, bool kWeight, bool kSum>
void rms_backward_rows(const NormBackward& args, const NormShape& shape) {
  const int64_t n = shape.width;
  const W* weight = static_cast<const W*>(args.weight);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const X* x = static_cast<const X*>(args.x) + row * n;
    const X* dy = static_cast<const X*>(args.dy) + row * n;
    const X* dsum = kSum ? static_cast<const X*>(args.dsum) + row * n : nullptr;
    X* dx = static_cast<X*>(args.dx) + row * n;
    const float rstd = args.rstd[row];
    Sum dot;
    over_row(n, [&](int64_t i, auto part, auto slot) {
      dot.add(load(dy + i, part) * load(weight + i, part) * load(x + i, part), slot);
    });
    const float pull = dot.total() * rstd * rstd / static_cast<float>(n);
    over_row(n, [&](int64_t i, auto part, auto) {
      const Vf value = load(x + i, part), given = load(dy + i, part);
      Vf out = (given * load(weight + i, part) - value * pull) * rstd;
      if constexpr (kSum) out += load(dsum + i, part);
      store(dx + i, out, part);
      if constexpr (kWeight) {
        float* dw = args.dweight + i;
        store(dw, load(dw, part) + given * (value * rstd), part);
      }
    });
  }
}

template <class X, class W>
void rms_backward(const NormBackward& args, const NormShape& shape) {
  if (args.dweight) {
    args.dsum ? rms_backward_rows<X, W, true, true>(args, shape)
              : rms_backward_rows<X, W, true, false>(args, shape);
  } else {
    args.dsum ? rms_backward_rows<X, W, false, true>(args, shape)
              : rms_backward_rows<X, W, false, false>(args, shape);
  }
}

template <class X>
MNEME_INLINE float row_mean(const X* x, const X* delta, X* sum, int64_t n) {
  Sum total;
  if (delta) {
    over_row(n, [&](int64_t i, auto part, auto slot) {
      const Vf v = as_stored(load(x + i, part) + load(delta + i, part), x);
      store(sum + i, v, part);
      total.add(v, slot);
    });
  } else {
    over_row(n, [&](int64_t i, auto part, auto slot) { total.add(load(x + i, part), slot); });
  }
  return total.total() / static_cast<float>(n);
}

template <class X, class W>
void layer_forward(const NormForward& args, const NormShape& shape) {
  const int64_t n = shape.width;
  const W* weight = static_cast<const W*>(args.weight);
  const W* bias = static_cast<const W*>(args.bias);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const X* x = static_cast<const X*>(args.x) + row * n;
    const X* delta = args.delta ? static_cast<const X*>(args.delta) + row * n : nullptr;
    X* sum = delta ? static_cast<X*>(args.sum) + row * n : nullptr;
    X* y = static_cast<X*>(args.y) + row * n;
    const float mean = row_mean(x, delta, sum, n);
    const X* from = delta ? sum : x;
    // The variance in a pass of its own: rows with a large mean would lose it in a difference of squares.
    Sum squares;
    over_row(n, [&](int64_t i, auto part, auto slot) {
      const Vf centred = covered(load(from + i, part) - mean, part);
      squares.add(centred * centred, slot);
    });
    const float rstd = 1.0f / __builtin_sqrtf(squares.total() / static_cast<float>(n) + shape.eps);
    if (args.rstd) {
      args.mean[row] = mean;
      args.rstd[row] = rstd;
    }
    over_row(n, [&](int64_t i, auto part, auto) {
      Vf out = (load(from + i, part) - mean) * rstd * load(weight + i, part);
      if (bias) out += load(bias + i, part);
      store(y + i, out, part);
    });
  }
}

template <class X, class W, bool kWeight, bool kSum>
void layer_backward_rows(const NormBackward& args, const NormShape& shape) {
  const int64_t n = shape.width;
  const W* weight = static_cast<const W*>(args.weight);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const X* x = static_cast<const X*>(args.x) + row * n;
    const X* dy = static_cast<const X*>(args.dy) + row * n;
    const X* dsum = kSum ? static_cast<const X*>(args.dsum) + row * n : nullptr;
    X* dx = static_cast<X*>(args.dx) + row * n;
    const float mean = args.mean[row], rstd = args.rstd[row];
    Sum dot, total;
    over_row(n, [&](int64_t i, auto part, auto slot) {
      const Vf pulled = load(dy + i, part) * load(weight + i, part);
      total.add(pulled, slot);
      dot.add(pulled * (load(x + i, part) - mean), slot);
    });
    const float shift = total.total() / static_cast<float>(n);
    const float pull = dot.total() * rstd * rstd / static_cast<float>(n);
    over_row(n, [&](int64_t i, auto part, auto) {
      const Vf centred = load(x + i, part) - mean, given = load(dy + i, part);
      Vf out = (given * load(weight + i, part) - shift - centred * pull) * rstd;
      if constexpr (kSum) out += load(dsum + i, part);
      store(dx + i, out, part);
      if constexpr (kWeight) {
        float* dw = args.dweight + i;
        store(dw, load(dw, part) + given * (centred * rstd), part);
        if (args.dbias) store(args.dbias + i, load(args.dbias + i, part) + given, part);
      }
    });
  }
}

template <class X, class W>
void layer_backward(const NormBackward& args, const NormShape& shape) {
  if (args.dweight) {
    args.dsum ? layer_backward_rows<X, W, true, true>(args, shape)
              : layer_backward_rows<X, W, true, false>(args, shape);
  } else {
    args.dsum ? layer_backward_rows<X, W, false, true>(args, shape)
              : layer_backward_rows<X, W, false, false>(args, shape);
  }
}

}  // namespace
}  // namespace mneme
