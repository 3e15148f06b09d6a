#include "ops/linear_autograd.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/linear_state.h"
#include "ops/sgemm.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A Weight as libtorch's saved_data can hold it.
struct HeldWeight : torch::CustomClassHolder {
  explicit HeldWeight(Weight w) : weight(std::move(w)) {}
  Weight weight;
};

class Linear : public torch::autograd::Function<Linear> {
 public:
  // `matrix` is w's plain value, given for the sake of its gradient and of its version check; none when
  // packed.
  static Tensor forward(AutogradContext* context, const Tensor& x, const c10::optional<Tensor>& matrix,
                        const c10::optional<Tensor>& bias, const Weight& w) {
    const bool train = matrix.has_value() && matrix->requires_grad();
    context->saved_data["weight"] = at::IValue::make_capsule(c10::make_intrusive<HeldWeight>(w));
    context->saved_data["has_matrix"] = matrix.has_value();
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["shape"] = x.sizes();
    if (bias) context->saved_data["bias_type"] = static_cast<int64_t>(bias->scalar_type());
    context->save_for_backward({train ? x : Tensor(), matrix ? *matrix : Tensor()});
    context->set_materialize_grads(false);
    return linear_forward(x, w, bias ? *bias : Tensor());
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list out(4);
    if (!grads[0].defined()) return out;
    const variable_list saved = context->get_saved_variables();
    const Weight& w =
        c10::static_intrusive_pointer_cast<HeldWeight>(context->saved_data["weight"].toCapsule())->weight;
    const bool has_matrix = context->saved_data["has_matrix"].toBool();
    const bool has_bias = context->saved_data["has_bias"].toBool();
    const Tensor dy = as_rows(grads[0]);
    const bool fp32 = dy.scalar_type() == at::kFloat;
    if (context->needs_input_grad(0)) {
      const Tensor dx =
          fp32 ? matrix_product(dy, w.value().to(at::kFloat)) : gemm::product(dy, *w.state()->by_columns());
      out[0] = dx.view(context->saved_data["shape"].toIntVector());
    }
    if (has_matrix && saved[0].defined() && context->needs_input_grad(1)) {
      const Tensor x = as_rows(saved[0]);
      const Tensor dw = fp32 ? matrix_product(dy.t(), x) : gemm::transposed_product(dy, x);
      out[1] = dw.to(saved[1].scalar_type());
    }
    if (has_bias && context->needs_input_grad(has_matrix ? 2 : 1)) {
      const auto type = static_cast<at::ScalarType>(context->saved_data["bias_type"].toInt());
      out[2] = dy.sum(0, false, at::kFloat).to(type);
    }
    return out;
  }
};

c10::optional<Tensor> if_defined(const Tensor& t) {
  return t.defined() ? c10::optional<Tensor>(t) : c10::nullopt;
}

}  // namespace

Tensor linear_with_grad(const Tensor& x, const Weight& w, const Tensor& bias) {
  return Linear::apply(x, if_defined(w.state()->plain), if_defined(bias), w);
}

}  // namespace mneme
