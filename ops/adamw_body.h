// Steps of AdamW and SGD, sums of squares and scaling. See elementwise_vector.h for who includes this.
//
// The order of operations is that of torch's AdamW: decay, first moment, second moment, then
// param -= step_size * exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps).
#pragma once

#include "ops/elementwise_kernels.h"
#include "ops/elementwise_vector.h"

namespace mneme {
namespace {

// A NaN gradient stays NaN: hiding it here would only move the failure.
MNEME_INLINE Vf clipped(Vf v, float limit) {
  v = (v > limit) ? splat(limit) : v;
  return (v < -limit) ? splat(-limit) : v;
}

template <class G>
void adamw(const AdamwPart& of, const AdamwScalars& scalars) {
  // Local copies: a store through memory that may alias them would make each step read them again.
  const AdamwScalars k = scalars;
  const G* grad = static_cast<const G*>(of.grad);
  float *param = of.param, *exp_avg = of.exp_avg, *exp_avg_sq = of.exp_avg_sq;
  uint16_t* copy = of.copy;
  over_row(of.count, [&](int64_t i, auto part, auto) {
    const Vf g = clipped(load(grad + i, part) * k.grad_scale, k.clip_value);
    const Vf m = load(exp_avg + i, part) * k.beta1 + g * k.one_minus_beta1;
    const Vf v = load(exp_avg_sq + i, part) * k.beta2 + (g * k.one_minus_beta2) * g;
    const Vf denominator = square_root(v) / k.bias_correction2_sqrt + k.eps;
    const Vf p = load(param + i, part) * k.keep - (m * k.step_size) / denominator;
    store(exp_avg + i, m, part);
    store(exp_avg_sq + i, v, part);
    store(param + i, p, part);
    if (copy) store(copy + i, p, part);
  });
}

template <class G>
void sgd(const AdamwPart& of, const SgdScalars& scalars) {
  const SgdScalars k = scalars;
  const G* grad = static_cast<const G*>(of.grad);
  float *param = of.param, *momentum = of.exp_avg;
  uint16_t* copy = of.copy;
  over_row(of.count, [&](int64_t i, auto part, auto) {
    const Vf p = load(param + i, part);
    Vf g = clipped(load(grad + i, part) * k.grad_scale, k.clip_value) + p * k.weight_decay;
    if (momentum) {
      const Vf m = k.first ? g : load(momentum + i, part) * k.momentum + g * k.one_minus_dampening;
      store(momentum + i, m, part);
      g = k.nesterov ? g + m * k.momentum : m;
    }
    const Vf next = p - g * k.step_size;
    store(param + i, next, part);
    if (copy) store(copy + i, next, part);
  });
}

template <class T>
double sum_of_squares(const void* data, int64_t n) {
  const T* x = static_cast<const T*>(data);
  // fp32 within runs short enough to lose nothing that matters, double between them.
  constexpr int64_t kRun = 1024;
  double total = 0;
  for (int64_t start = 0; start < n; start += kRun) {
    Sum run;
    over_row(n - start < kRun ? n - start : kRun, [&](int64_t i, auto part, auto slot) {
      const Vf v = load(x + start + i, part);
      run.add(v * v, slot);
    });
    total += run.total();
  }
  return total;
}

template <class T>
void scale(void* data, float factor, float clip_value, int64_t n) {
  T* x = static_cast<T*>(data);
  over_row(n, [&](int64_t i, auto part, auto) {
    store(x + i, clipped(load(x + i, part) * factor, clip_value), part);
  });
}

}  // namespace
}  // namespace mneme
