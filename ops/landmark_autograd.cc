#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "ops/landmark_fused.h"

namespace mneme::landmark {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Optional = c10::optional<Tensor>;

// What the backward pass needs besides the differentiable tensors.
struct Rest final : torch::CustomClassHolder {
  LandmarkKeys keys;
  LandmarkOptions options;
  Tensor lse;
};

struct LandmarkFunction : torch::autograd::Function<LandmarkFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Optional& miss, const c10::intrusive_ptr<Rest>& rest) {
    if (miss) rest->options.miss_key = *miss;
    const Tensor out = landmark::forward(
        prepare(q, {k, v, rest->keys.is_landmark, rest->keys.mask}, rest->options), &rest->lse);
    rest->options.miss_key = Tensor();
    ctx->save_for_backward({q, k, v, out, miss ? *miss : Tensor()});
    ctx->saved_data["rest"] = c10::IValue::make_capsule(rest);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list given) {
    MNEME_CHECK(!at::GradMode::is_enabled(), "landmark attention has no second derivatives");
    const variable_list saved = ctx->get_saved_variables();
    const auto rest = c10::static_intrusive_pointer_cast<Rest>(ctx->saved_data["rest"].toCapsule());
    LandmarkOptions options = rest->options;
    options.miss_key = saved[4];
    const LandmarkKeys keys{saved[1], saved[2], rest->keys.is_landmark, rest->keys.mask};
    const Gradients g = landmark::backward(prepare(saved[0], keys, options), saved[3], rest->lse, given[0]);
    return {g.q, g.k, g.v, g.miss, Tensor()};
  }
};

}  // namespace

Tensor with_gradients(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options,
                      Tensor* lse) {
  if (options.miss_cutoff) {
    throw Error(Kind::usage, "landmark attention: a cutoff of the context-miss token has no gradient",
                "leave it out in training");
  }
  auto rest = c10::make_intrusive<Rest>();
  rest->keys = {Tensor(), Tensor(), keys.is_landmark, keys.mask};
  rest->options = options;
  const Optional miss = options.miss_key.defined() ? Optional(options.miss_key) : Optional();
  const Tensor out = LandmarkFunction::apply(q, keys.k, keys.v, miss, rest);
  if (lse) *lse = rest->lse;
  return out;
}

}  // namespace mneme::landmark
