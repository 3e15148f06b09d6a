// Activation functions and SwiGLU, forward and backward. See elementwise_vector.h for who includes this.
#pragma once

#include "ops/elementwise_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

// f(x), and f'(x) for the backward pass, which starts from x again.
struct Relu {
  static MNEME_INLINE Vf value(Vf x) { return (x < 0.0f) ? Vf{} : x; }  // a NaN stays one
  static MNEME_INLINE Vf slope(Vf x) { return (x > 0.0f) ? splat(1.0f) : Vf{}; }
};

struct Silu {
  static MNEME_INLINE Vf value(Vf x) { return x * sigmoid(x); }
  static MNEME_INLINE Vf slope(Vf x) {
    const Vf s = sigmoid(x);
    return s + x * s * (1.0f - s);
  }
};

struct Gelu {
  static MNEME_INLINE Vf value(Vf x) { return x * normal(x).integral; }
  static MNEME_INLINE Vf slope(Vf x) {
    const Normal at = normal(x);
    return at.integral + x * at.density;
  }
};

// (1 + tanh u) / 2 is sigmoid(2 u), which loses nothing where tanh nears -1.
struct GeluTanh {
  static constexpr float kScale = 1.5957691216f, kCubic = 0.044715f;  // 2 sqrt(2 / pi)
  static MNEME_INLINE Vf value(Vf x) { return x * sigmoid(kScale * (x + kCubic * x * x * x)); }
  static MNEME_INLINE Vf slope(Vf x) {
    const Vf s = sigmoid(kScale * (x + kCubic * x * x * x));
    return s + x * s * (1.0f - s) * kScale * (1.0f + 3 * kCubic * x * x);
  }
};

template <class F, class T>
void unary_forward(const void* x_data, void* y_data, int64_t n) {
  const T* x = static_cast<const T*>(x_data);
  T* y = static_cast<T*>(y_data);
  over_row(n, [&](int64_t i, auto part, auto) { store(y + i, F::value(load(x + i, part)), part); });
}

template <class F, class T>
void unary_backward(const void* x_data, const void* dy_data, void* dx_data, int64_t n) {
  const T* x = static_cast<const T*>(x_data);
  const T* dy = static_cast<const T*>(dy_data);
  T* dx = static_cast<T*>(dx_data);
  over_row(n, [&](int64_t i, auto part, auto) {
    store(dx + i, load(dy + i, part) * F::slope(load(x + i, part)), part);
  });
}

template <class T>
MNEME_INLINE const T* row_of(Rows rows, int64_t row) {
  return static_cast<const T*>(rows.data) + row * rows.stride;
}
template <class T>
MNEME_INLINE T* row_of(OutRows rows, int64_t row) {
  return static_cast<T*>(rows.data) + row * rows.stride;
}

template <class T>
void swiglu_forward(Rows gate, Rows up, OutRows y, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T *g = row_of<T>(gate, row), *u = row_of<T>(up, row);
    T* out = row_of<T>(y, row);
    over_row(width, [&](int64_t i, auto part, auto) {
      store(out + i, Silu::value(load(g + i, part)) * load(u + i, part), part);
    });
  }
}

template <class T>
void swiglu_backward(Rows gate, Rows up, Rows dy, OutRows dgate, OutRows dup, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const T *g = row_of<T>(gate, row), *u = row_of<T>(up, row), *d = row_of<T>(dy, row);
    T *dg = row_of<T>(dgate, row), *du = row_of<T>(dup, row);
    over_row(width, [&](int64_t i, auto part, auto) {
      const Vf x = load(g + i, part), given = load(d + i, part);
      const Vf s = sigmoid(x), silu = x * s;
      store(dg + i, given * load(u + i, part) * (s + silu * (1.0f - s)), part);
      store(du + i, given * silu, part);
    });
  }
}

}  // namespace
}  // namespace mneme
