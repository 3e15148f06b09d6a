#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "base/error.h"
#include "ops/attention_impl.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the function cannot keep as saved variables: everything that has no gradient.
struct HeldSources : torch::CustomClassHolder {
  std::vector<Keys> sources;  // without q, k and v
  AttentionOptions options;
  WantedGradients wanted;
};

// Inputs: q, then q, k and v of each source, those that are defined.
variable_list inputs_of(const Tensor& q, const std::vector<Keys>& sources) {
  variable_list out{q};
  for (const Keys& keys : sources) {
    for (const Tensor* t : {&keys.q, &keys.k, &keys.v}) {
      if (t->defined()) out.push_back(*t);
    }
  }
  return out;
}

// The sources with their tensors taken from such a list; `had` tells which are defined.
std::vector<Keys> sources_of(const std::vector<Keys>& held, const std::vector<std::array<bool, 3>>& had,
                             at::TensorList inputs) {
  std::vector<Keys> out = held;
  size_t next = 1;
  for (size_t s = 0; s < out.size(); ++s) {
    Tensor* const parts[] = {&out[s].q, &out[s].k, &out[s].v};
    for (size_t i = 0; i < 3; ++i) {
      if (had[s][i]) *parts[i] = inputs[next++];
    }
  }
  return out;
}

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static variable_list forward(AutogradContext* ctx, const std::vector<Keys>& given,
                               const AttentionOptions& options, at::TensorList inputs) {
    auto held = c10::make_intrusive<HeldSources>();
    std::vector<std::array<bool, 3>> had;
    held->sources = given;
    held->options = options;
    held->wanted.q = inputs[0].requires_grad();
    c10::List<bool> had_list;
    for (Keys& keys : held->sources) {
      held->wanted.qs.push_back(keys.q.defined() && keys.q.requires_grad());
      held->wanted.k.push_back(keys.k.defined() && keys.k.requires_grad());
      held->wanted.v.push_back(keys.v.defined() && keys.v.requires_grad());
      had.push_back({keys.q.defined(), keys.k.defined(), keys.v.defined()});
      for (const bool one : had.back()) had_list.push_back(one);
      keys.q = keys.k = keys.v = Tensor();
    }
    Tensor lse;
    const Tensor out = attention_forward(inputs[0], sources_of(held->sources, had, inputs), options, &lse);
    variable_list saved(inputs.begin(), inputs.end());
    saved.push_back(out);
    saved.push_back(lse);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward(saved);
    ctx->saved_data["held"] = c10::IValue::make_capsule(held);
    ctx->saved_data["had"] = had_list;
    return {out, lse};
  }

  static variable_list backward(AutogradContext* ctx, variable_list given) {
    MNEME_CHECK(!at::GradMode::is_enabled(), "the attention kernels have no second derivatives");
    const variable_list saved = ctx->get_saved_variables();
    const auto held = c10::static_intrusive_pointer_cast<HeldSources>(ctx->saved_data["held"].toCapsule());
    const c10::List<bool> had_list = ctx->saved_data["had"].toBoolList();
    std::vector<std::array<bool, 3>> had(held->sources.size());
    for (size_t i = 0; i < had_list.size(); ++i) had[i / 3][i % 3] = had_list[i];
    variable_list out(2);  // of the arguments that are no tensors
    if (!given[0].defined() && !given[1].defined()) {
      out.resize(saved.size());
      return out;
    }
    const std::vector<Keys> sources = sources_of(held->sources, had, saved);
    const Tensor& result = saved[saved.size() - 2];
    const Tensor grad = given[0].defined() ? given[0] : at::zeros_like(result);
    AttentionGradients g = attention_backward(saved[0], sources, held->options, result, saved.back(), grad,
                                              given[1], held->wanted);
    out.push_back(g.q);
    for (size_t s = 0; s < sources.size(); ++s) {
      const Tensor parts[] = {g.qs[s], g.k[s], g.v[s]};
      for (size_t i = 0; i < 3; ++i) {
        if (had[s][i]) out.push_back(parts[i]);
      }
    }
    return out;
  }
};

}  // namespace

Tensor attention_with_gradients(const Tensor& q, const std::vector<Keys>& sources,
                                const AttentionOptions& options, Tensor* lse) {
  const variable_list inputs = inputs_of(q, sources);
  const variable_list out = AttentionFunction::apply(sources, options, at::TensorList(inputs));
  if (lse) *lse = out[1];
  return out[0];
}

}  // namespace mneme
