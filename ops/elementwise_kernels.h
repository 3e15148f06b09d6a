// The table of elementwise CPU kernels: one instance per instruction set
// (elementwise_{baseline,avx2,avx512}.cc), chosen by the level in force (ops/cpu.h). Kernels work on rows of
// raw memory, on one thread; shapes, types, gradients and threads are the business of norm.cc, activation.cc,
// rotary.cc, dropout.cc and adamw.cc.
//
// An index [type] is 0 for fp32 and 1 for bf16. Arithmetic is fp32 throughout.
#pragma once

#include <cstdint>

namespace mneme {

// Rows of `width` elements, one after the other.
struct NormShape {
  int64_t rows, width;
  float eps;
};

// y = normalised x (or x + delta, which then goes to `sum`) times weight (plus bias). `mean` (layer norm
// only) and `rstd` receive what the backward pass needs, one value a row; null where there is none.
struct NormForward {
  const void *x, *delta, *weight, *bias;
  void *sum, *y;
  float *mean, *rstd;
};

// dx (+ the gradient of `sum` itself in the residual forms) and, added to, dweight and dbias (null: not
// wanted).
struct NormBackward {
  const void *x, *dy, *dsum, *weight;
  const float *mean, *rstd;
  void* dx;
  float *dweight, *dbias;
};

// Rows with a stride in elements each.
struct Rows {
  const void* data;
  int64_t stride;
};
struct OutRows {
  void* data;
  int64_t stride;
};

enum class Unary { relu, silu, gelu, gelu_tanh };
constexpr int kUnaries = 4;

// One token of a rotation: its heads `stride` elements apart, cos and sin of its angles (pairs of them).
struct RotateRow {
  const void* x;
  void* y;
  int64_t heads, x_stride, y_stride;
  int64_t width, pairs;  // of a head: the first 2 * pairs elements turn, the others are copied
  const float *cos, *sin;
  bool inverse;
};

// A part of a parameter for AdamW.
struct AdamwPart {
  float* param;
  const void* grad;
  float *exp_avg, *exp_avg_sq;
  uint16_t* copy;  // bf16 copy of the parameter to refresh, or null
  int64_t count;
};
struct AdamwScalars {
  float grad_scale, clip_value;  // clip_value: inf where values are not clipped
  float keep;                    // 1 - lr * weight_decay
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float step_size, bias_correction2_sqrt, eps;
};
struct SgdScalars {
  float grad_scale, clip_value, weight_decay, momentum, one_minus_dampening, step_size;
  bool nesterov, first;  // first: the momentum buffer starts as the gradient
};

struct ElementwiseKernels {
  void (*rms_forward[2][2])(const NormForward&, const NormShape&);  // [x][weight]
  void (*rms_backward[2][2])(const NormBackward&, const NormShape&);
  void (*layer_forward[2][2])(const NormForward&, const NormShape&);
  void (*layer_backward[2][2])(const NormBackward&, const NormShape&);

  void (*unary_forward[kUnaries][2])(const void* x, void* y, int64_t n);
  void (*unary_backward[kUnaries][2])(const void* x, const void* dy, void* dx, int64_t n);
  void (*swiglu_forward[2])(Rows gate, Rows up, OutRows y, int64_t rows, int64_t width);
  void (*swiglu_backward[2])(Rows gate, Rows up, Rows dy, OutRows dgate, OutRows dup, int64_t rows,
                             int64_t width);

  void (*rotate_half[2])(const RotateRow&);
  void (*rotate_interleaved[2])(const RotateRow&);

  void (*masked[2])(const void* x, const uint8_t* keep, float scale, void* y, int64_t n);

  void (*adamw[2])(const AdamwPart&, const AdamwScalars&);  // [grad]
  void (*sgd[2])(const AdamwPart&, const SgdScalars&);      // exp_avg is the momentum buffer, or null
  double (*sum_of_squares[2])(const void* x, int64_t n);
  void (*scale[2])(void* x, float factor, float clip_value, int64_t n);
};

extern const ElementwiseKernels kElementwiseBaseline, kElementwiseAvx2, kElementwiseAvx512;

// The table for the level in force.
const ElementwiseKernels& elementwise_kernels();

}  // namespace mneme
