#include "ops/activation.h"

#include "base/error.h"
#include "ops/activation_impl.h"
#include "ops/elementwise.h"

namespace mneme {
namespace {

Unary unary(Activation f) {
  switch (f) {
    case Activation::relu:
      return Unary::relu;
    case Activation::silu:
      return Unary::silu;
    case Activation::gelu:
      return Unary::gelu;
    case Activation::gelu_tanh:
      return Unary::gelu_tanh;
  }
  MNEME_CHECK(false);
}

// The distance between rows of the last dimension, or -1 where there is no single one.
int64_t row_stride(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  if (t.size(last) > 1 && t.stride(last) != 1) return -1;
  int64_t stride = t.size(last), rows = 1;
  for (int64_t i = last - 1; i >= 0; --i) {
    if (t.size(i) == 1) continue;
    if (rows == 1) stride = t.stride(i);
    if (t.stride(i) != stride * rows) return -1;
    rows *= t.size(i);
  }
  return stride;
}

Tensor by_rows(const Tensor& t) { return row_stride(t) >= 0 ? t : t.contiguous(); }
Rows rows_of(const Tensor& t) { return {t.data_ptr(), row_stride(t)}; }
OutRows out_rows_of(const Tensor& t) { return {t.data_ptr(), row_stride(t)}; }

Rows from_row(Rows rows, int64_t row, int64_t bytes) {
  return {static_cast<const char*>(rows.data) + row * rows.stride * bytes, rows.stride};
}
OutRows from_row(OutRows rows, int64_t row, int64_t bytes) {
  return {static_cast<char*>(rows.data) + row * rows.stride * bytes, rows.stride};
}

const char* from(const Tensor& t, int64_t element) {
  return static_cast<const char*>(t.data_ptr()) + element * t.element_size();
}
char* into(const Tensor& t, int64_t element) {
  return static_cast<char*>(t.data_ptr()) + element * t.element_size();
}

}  // namespace

Tensor activate_reference(Activation f, const Tensor& x) {
  switch (f) {
    case Activation::relu:
      return at::relu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
  }
  MNEME_CHECK(false);
}

Tensor swiglu_reference(const Tensor& gate, const Tensor& up) { return at::silu(gate) * up; }

Tensor activate_forward(Activation f, const Tensor& x_in) {
  const Tensor x = x_in.contiguous(), y = at::empty_like(x);
  const auto kernel = elementwise_kernels().unary_forward[static_cast<int>(unary(f))][type_index(x)];
  parallel_elements(x.numel(),
                    [&](int64_t begin, int64_t end) { kernel(from(x, begin), into(y, begin), end - begin); });
  return y;
}

Tensor activate_backward(Activation f, const Tensor& x_in, const Tensor& dy_in) {
  const Tensor x = x_in.contiguous(), dy = dy_in.contiguous(), dx = at::empty_like(x);
  const auto kernel = elementwise_kernels().unary_backward[static_cast<int>(unary(f))][type_index(x)];
  parallel_elements(x.numel(), [&](int64_t begin, int64_t end) {
    kernel(from(x, begin), from(dy, begin), into(dx, begin), end - begin);
  });
  return dx;
}

Tensor swiglu_forward(const Tensor& gate_in, const Tensor& up_in) {
  const Tensor gate = by_rows(gate_in), up = by_rows(up_in);
  const Tensor y = at::empty(gate.sizes(), gate.options());
  const int64_t width = gate.size(-1), rows = width ? gate.numel() / width : 0, bytes = gate.element_size();
  const Rows g = rows_of(gate), u = rows_of(up);
  const OutRows out = out_rows_of(y);
  const auto kernel = elementwise_kernels().swiglu_forward[type_index(gate)];
  at::parallel_for(0, rows, row_grain(width), [&](int64_t begin, int64_t end) {
    kernel(from_row(g, begin, bytes), from_row(u, begin, bytes), from_row(out, begin, bytes), end - begin,
           width);
  });
  return y;
}

void swiglu_backward(const Tensor& gate_in, const Tensor& up_in, const Tensor& dy_in, const Tensor& dgate,
                     const Tensor& dup) {
  const Tensor gate = by_rows(gate_in), up = by_rows(up_in), dy = by_rows(dy_in);
  const int64_t width = gate.size(-1), rows = width ? gate.numel() / width : 0, bytes = gate.element_size();
  const Rows g = rows_of(gate), u = rows_of(up), d = rows_of(dy);
  const OutRows dg = out_rows_of(dgate), du = out_rows_of(dup);
  MNEME_CHECK(dg.stride >= 0 && du.stride >= 0);
  const auto kernel = elementwise_kernels().swiglu_backward[type_index(gate)];
  at::parallel_for(0, rows, row_grain(width), [&](int64_t begin, int64_t end) {
    kernel(from_row(g, begin, bytes), from_row(u, begin, bytes), from_row(d, begin, bytes),
           from_row(dg, begin, bytes), from_row(du, begin, bytes), end - begin, width);
  });
}

}  // namespace mneme
