#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/recompute.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  explicit Held(RecomputedPart p) : part(std::move(p)) {}
  RecomputedPart part;
};

struct Recomputed : torch::autograd::Function<Recomputed> {
  // The last input is a mere sign that there is something to differentiate: what the part trains are leaves
  // that it captures.
  static variable_list forward(AutogradContext* ctx, const RecomputedPart& part, at::TensorList inputs) {
    ctx->saved_data["part"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(part));
    variable_list saved(inputs.begin(), inputs.end() - 1);
    c10::List<bool> wanted;
    for (const Tensor& t : saved) wanted.push_back(t.requires_grad());
    ctx->saved_data["wanted"] = wanted;
    ctx->set_materialize_grads(false);
    variable_list out = part(saved);
    ctx->save_for_backward(saved);
    // An output that is an input itself must be a tensor of its own.
    for (Tensor& t : out) {
      for (const Tensor& in : inputs) {
        if (t.is_same(in)) t = t.view_as(t);
      }
    }
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["part"].toCapsule());
    const c10::List<bool> wanted = ctx->saved_data["wanted"].toBoolList();
    variable_list inputs = ctx->get_saved_variables();
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[i].detach().set_requires_grad(wanted[i]);
    variable_list roots, grads;
    {
      const at::AutoGradMode with_graph(true);
      const variable_list outputs = held->part(inputs);
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!given[i].defined() || !outputs[i].requires_grad()) continue;
        roots.push_back(outputs[i]);
        grads.push_back(given[i]);
      }
    }
    if (!roots.empty()) torch::autograd::backward(roots, grads);
    variable_list out(1);  // of the part, which is no tensor
    for (size_t i = 0; i < inputs.size(); ++i) out.push_back(wanted[i] ? inputs[i].grad() : Tensor());
    out.emplace_back();  // of the sign
    return out;
  }
};

}  // namespace

std::vector<Tensor> recomputed(const RecomputedPart& part, const std::vector<Tensor>& inputs) {
  variable_list in(inputs.begin(), inputs.end());
  in.push_back(at::zeros({0}, inputs.at(0).options().requires_grad(true)));
  return Recomputed::apply(part, at::TensorList(in));
}

}  // namespace mneme
