#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/elementwise.h"
#include "ops/rotary.h"
#include "ops/rotary_impl.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor turned(const Tensor& x_in, const Rotation& rotation, bool inverse) {
  const Tensor x = x_in.stride(3) == 1 ? x_in : x_in.contiguous();
  const Tensor y = at::empty(x.sizes(), x.options());
  rotate_into(x, rotation, inverse, y);
  return y;
}

// The gradient is this function again, with the angles reversed, so it has derivatives of any order.
struct RotateFunction : torch::autograd::Function<RotateFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin,
                        bool interleaved, bool inverse) {
    ctx->saved_data["cos"] = cos;
    ctx->saved_data["sin"] = sin;
    ctx->saved_data["interleaved"] = interleaved;
    ctx->saved_data["inverse"] = inverse;
    return turned(x, {cos, sin, interleaved}, inverse);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    const Tensor cos = ctx->saved_data["cos"].toTensor(), sin = ctx->saved_data["sin"].toTensor();
    const bool interleaved = ctx->saved_data["interleaved"].toBool(),
               inverse = !ctx->saved_data["inverse"].toBool();
    const Tensor dx = at::GradMode::is_enabled() ? apply(given[0], cos, sin, interleaved, inverse)
                                                 : turned(given[0], {cos, sin, interleaved}, inverse);
    return {dx, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rotate(const Tensor& x, const Rotation& rotation) {
  check_rotation(x, rotation);
  if (!rotate_kernel_takes(x, rotation)) return rotate_reference(x, rotation);
  if (at::GradMode::is_enabled() && wants_gradient(x)) {
    return RotateFunction::apply(x, rotation.cos, rotation.sin, rotation.interleaved, false);
  }
  return turned(x, rotation, false);
}

Tensor rotate(const Tensor& x, const Tensor& positions, const RotaryTable& table) {
  return rotate(x, table.at(positions, x.options()));
}

Tensor rotate(const Tensor& x, const std::vector<int64_t>& starts, const RotaryTable& table) {
  return rotate(x, table.run(starts, x.size(1), x.options()));
}

}  // namespace mneme
