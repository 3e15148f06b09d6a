#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "ops/activation_impl.h"
#include "ops/elementwise.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_first_order() {
  MNEME_CHECK(!at::GradMode::is_enabled(), "the activation kernels have no second derivatives");
}

struct ActivateFunction : torch::autograd::Function<ActivateFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, int64_t f) {
    ctx->saved_data["f"] = f;
    ctx->save_for_backward({x});
    return activate_forward(static_cast<Activation>(f), x);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    check_first_order();
    const auto f = static_cast<Activation>(ctx->saved_data["f"].toInt());
    return {activate_backward(f, ctx->get_saved_variables()[0], given[0]), Tensor()};
  }
};

struct SwigluFunction : torch::autograd::Function<SwigluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    ctx->save_for_backward({gate, up});
    return swiglu_forward(gate, up);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    check_first_order();
    const variable_list saved = ctx->get_saved_variables();
    const Tensor dgate = at::empty(saved[0].sizes(), saved[0].options()), dup = at::empty_like(dgate);
    swiglu_backward(saved[0], saved[1], given[0], dgate, dup);
    return {dgate, dup};
  }
};

// The two halves of the last dimension.
std::pair<Tensor, Tensor> gate_and_up(const Tensor& t) {
  const int64_t width = t.size(-1) / 2;
  return {t.narrow(-1, 0, width), t.narrow(-1, width, width)};
}

struct SwigluPackedFunction : torch::autograd::Function<SwigluPackedFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_up) {
    ctx->save_for_backward({gate_up});
    const auto [gate, up] = gate_and_up(gate_up);
    return swiglu_forward(gate, up);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    check_first_order();
    const Tensor gate_up = ctx->get_saved_variables()[0];
    const Tensor d = at::empty(gate_up.sizes(), gate_up.options());
    const auto [gate, up] = gate_and_up(gate_up);
    const auto [dgate, dup] = gate_and_up(d);
    swiglu_backward(gate, up, given[0], dgate, dup);
    return {d};
  }
};

}  // namespace

Tensor activate(Activation f, const Tensor& x) {
  if (!kernel_type(x)) return activate_reference(f, x);
  if (at::GradMode::is_enabled() && wants_gradient(x))
    return ActivateFunction::apply(x, static_cast<int64_t>(f));
  return activate_forward(f, x);
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  MNEME_CHECK(gate.dim() >= 1 && gate.sizes() == up.sizes(), describe(gate) + " and " + describe(up));
  if (!kernel_type(gate) || !kernel_type(up) || gate.dtype() != up.dtype()) return swiglu_reference(gate, up);
  if (at::GradMode::is_enabled() && (wants_gradient(gate) || wants_gradient(up)))
    return SwigluFunction::apply(gate, up);
  return swiglu_forward(gate, up);
}

Tensor swiglu_packed(const Tensor& gate_up) {
  MNEME_CHECK(gate_up.dim() >= 1 && gate_up.size(-1) % 2 == 0, describe(gate_up));
  if (kernel_type(gate_up) && at::GradMode::is_enabled() && wants_gradient(gate_up)) {
    return SwigluPackedFunction::apply(gate_up);
  }
  const auto [gate, up] = gate_and_up(gate_up);
  return kernel_type(gate_up) ? swiglu_forward(gate, up) : swiglu_reference(gate, up);
}

}  // namespace mneme
