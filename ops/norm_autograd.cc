#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/norm_impl.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Optional = c10::optional<Tensor>;

Tensor value_of(const Optional& t) { return t.has_value() ? *t : Tensor(); }

void check_shapes(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  MNEME_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1),
              "x " + describe(x) + ", weight " + describe(weight));
  MNEME_CHECK(!bias.defined() || bias.sizes() == weight.sizes(), "bias " + describe(bias));
}

bool kernels_take(const Tensor& x, const Tensor& delta, const Tensor& weight, const Tensor& bias) {
  return kernel_type(x) && kernel_type(weight) && (!delta.defined() || delta.dtype() == x.dtype()) &&
         (!bias.defined() || bias.dtype() == weight.dtype());
}

// Inputs x, delta, weight, bias; outputs {y} or {y, sum}.
struct NormFunction : torch::autograd::Function<NormFunction> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Optional& delta,
                               const Tensor& weight, const Optional& bias, double eps, bool rms) {
    const NormKind kind = rms ? NormKind::rms : NormKind::layer;
    NormResult r = norm_forward(kind, x, value_of(delta), weight, value_of(bias), eps, /*keep=*/true);
    ctx->set_materialize_grads(false);
    ctx->saved_data["rms"] = rms;
    ctx->saved_data["residual"] = r.sum.defined();
    ctx->saved_data["weight_wanted"] = weight.requires_grad();
    ctx->saved_data["bias_wanted"] = wants_gradient(value_of(bias));
    ctx->saved_data["mean"] = r.mean;
    ctx->saved_data["rstd"] = r.rstd;
    ctx->save_for_backward({r.sum.defined() ? r.sum : x, weight});
    return r.sum.defined() ? variable_list{r.y, r.sum} : variable_list{r.y};
  }

  static variable_list backward(AutogradContext* ctx, variable_list given) {
    MNEME_CHECK(!at::GradMode::is_enabled(), "the norm kernels have no second derivatives");
    const bool residual = ctx->saved_data["residual"].toBool();
    const Tensor dsum = residual ? given[1] : Tensor();
    NormGradients g;
    if (given[0].defined()) {
      const variable_list saved = ctx->get_saved_variables();
      g = norm_backward(
          ctx->saved_data["rms"].toBool() ? NormKind::rms : NormKind::layer,
          {saved[0], saved[1], ctx->saved_data["mean"].toTensor(), ctx->saved_data["rstd"].toTensor()},
          given[0], dsum, ctx->saved_data["weight_wanted"].toBool(), ctx->saved_data["bias_wanted"].toBool());
    } else {
      g.dx = dsum;
    }
    return {g.dx, residual ? g.dx : Tensor(), g.dweight, g.dbias, Tensor(), Tensor()};
  }
};

// {y, sum}
std::pair<Tensor, Tensor> norm(NormKind kind, const Tensor& x, const Tensor& delta, const Tensor& weight,
                               const Tensor& bias, double eps) {
  check_shapes(x, weight, bias);
  MNEME_CHECK(!delta.defined() || delta.sizes() == x.sizes(),
              "x " + describe(x) + ", delta " + describe(delta));
  const bool rms = kind == NormKind::rms;
  if (!kernels_take(x, delta, weight, bias)) {
    const Tensor sum = delta.defined() ? (x + delta).to(x.scalar_type()) : x;
    return {rms ? rms_norm_reference(sum, weight, eps) : layer_norm_reference(sum, weight, bias, eps), sum};
  }
  if (at::GradMode::is_enabled() &&
      (wants_gradient(x) || wants_gradient(delta) || wants_gradient(weight) || wants_gradient(bias))) {
    const auto given = [](const Tensor& t) { return t.defined() ? Optional(t) : Optional(); };
    const variable_list out = NormFunction::apply(x, given(delta), weight, given(bias), eps, rms);
    return {out[0], delta.defined() ? out[1] : Tensor()};
  }
  const NormResult out = norm_forward(kind, x, delta, weight, bias, eps, /*keep=*/false);
  return {out.y, out.sum};
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return norm(NormKind::rms, x, Tensor(), weight, Tensor(), eps).first;
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return norm(NormKind::layer, x, Tensor(), weight, bias, eps).first;
}

std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight,
                                       double eps) {
  auto [normed, sum] = norm(NormKind::rms, x, delta, weight, Tensor(), eps);
  return {sum, normed};
}

std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& delta, const Tensor& weight,
                                         const Tensor& bias, double eps) {
  auto [normed, sum] = norm(NormKind::layer, x, delta, weight, bias, eps);
  return {sum, normed};
}

}  // namespace mneme
