#include <torch/csrc/autograd/custom_function.h>

#include "ops/cross_entropy_impl.h"
#include "ops/linear_state.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct HeldHead : torch::CustomClassHolder {
  HeadLossInput in;  // of the positions that count; hidden is kept by save_for_backward instead
};

// Values of the positions that count, back among zeros.
Tensor spread(const Tensor& values, const Tensor& kept, int64_t n) {
  if (!kept.defined()) return values;
  std::vector<int64_t> sizes = values.sizes().vec();
  sizes[0] = n;
  return at::zeros(sizes, values.options()).index_copy_(0, kept, values);
}

class HeadCrossEntropy : public torch::autograd::Function<HeadCrossEntropy> {
 public:
  // `matrix` is the head's plain value, for the sake of its gradient; none when packed. Returns loss, lse
  // and, when asked for, correct.
  static variable_list forward(AutogradContext* context, const Tensor& hidden,
                               const c10::optional<Tensor>& matrix, const c10::optional<Tensor>& bias,
                               const Weight& head, const Tensor& targets, bool want_correct) {
    const int64_t n = hidden.size(0);
    Tensor kept = at::nonzero(targets >= 0).squeeze(1);
    if (kept.size(0) == n) kept = Tensor();
    auto held = c10::make_intrusive<HeldHead>();
    HeadLossInput& in = held->in;
    in = {kept.defined() ? hidden.index_select(0, kept) : hidden.detach(), head,
          bias ? bias->detach() : Tensor(),
          kept.defined() ? targets.index_select(0, kept) : targets.contiguous()};
    const LossResult found = head_loss(in, want_correct);
    context->save_for_backward({in.hidden, found.lse, kept, matrix ? *matrix : Tensor()});
    in.hidden = Tensor();
    context->saved_data["in"] = at::IValue::make_capsule(std::move(held));
    context->saved_data["n"] = n;
    context->saved_data["has_matrix"] = matrix.has_value();
    context->saved_data["has_bias"] = bias.has_value();
    context->set_materialize_grads(false);
    variable_list out{spread(found.loss, kept, n), spread(found.lse, kept, n)};
    if (want_correct) out.push_back(spread(found.correct, kept, n));
    context->mark_non_differentiable(variable_list(out.begin() + 1, out.end()));
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list out(6);
    if (!grads[0].defined()) return out;
    const variable_list saved = context->get_saved_variables();
    const Tensor &hidden = saved[0], &lse = saved[1], &kept = saved[2], &matrix = saved[3];
    HeadLossInput in =
        c10::static_intrusive_pointer_cast<HeldHead>(context->saved_data["in"].toCapsule())->in;
    in.hidden = hidden;
    const bool has_matrix = context->saved_data["has_matrix"].toBool(),
               has_bias = context->saved_data["has_bias"].toBool();
    const Wanted wanted{context->needs_input_grad(0), has_matrix && context->needs_input_grad(1),
                        has_bias && context->needs_input_grad(has_matrix ? 2 : 1)};
    const Tensor scale =
        (kept.defined() ? grads[0].index_select(0, kept) : grads[0]).to(lse.scalar_type()).contiguous();
    const HeadGradients found = head_loss_backward(in, lse, scale, wanted);
    if (wanted.hidden) out[0] = spread(found.hidden, kept, context->saved_data["n"].toInt());
    if (wanted.head) out[1] = found.head.to(matrix.scalar_type());
    if (wanted.bias) out[2] = found.bias.to(in.bias.scalar_type());
    return out;
  }
};

c10::optional<Tensor> if_defined(const Tensor& t) {
  return t.defined() ? c10::optional<Tensor>(t) : c10::nullopt;
}

}  // namespace

LossResult head_cross_entropy_with_grad(const Tensor& hidden, const Weight& head, const Tensor& bias,
                                        const Tensor& targets, bool want_correct) {
  const variable_list found = HeadCrossEntropy::apply(hidden, if_defined(head.state()->plain),
                                                      if_defined(bias), head, targets, want_correct);
  return {found[0], found[1], want_correct ? found[2] : Tensor()};
}

}  // namespace mneme
