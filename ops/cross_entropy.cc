#include "ops/cross_entropy.h"

#include <algorithm>

#include "base/error.h"
#include "ops/cross_entropy_impl.h"
#include "ops/sgemm.h"

namespace mneme {
namespace {

// Positions whose logits are in memory together.
int64_t rows_at_once(int64_t vocabulary) {
  return std::max<int64_t>(1, (int64_t{1} << 24) / std::max<int64_t>(1, vocabulary));
}

bool on_kernels(const Tensor& hidden) {
  return hidden.scalar_type() == at::kBFloat16 && hidden.device().is_cpu();
}

at::ScalarType loss_type(const Tensor& hidden) {
  return hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

struct Plain {
  Tensor matrix, bias;  // in the hidden state's type
  explicit Plain(const HeadLossInput& in)
      : matrix(in.head.value().detach().to(in.hidden.scalar_type())),
        bias(in.bias.defined() ? in.bias.detach().to(in.hidden.scalar_type()) : Tensor()) {}
  Tensor logits(const Tensor& hidden) const {
    return matrix_product(hidden, matrix.t(), bias).to(loss_type(hidden));
  }
};

LossResult head_loss_plain(const HeadLossInput& in, bool want_correct) {
  const Plain plain(in);
  const int64_t n = in.hidden.size(0), step = rows_at_once(in.head.out());
  const auto options = in.hidden.options().dtype(loss_type(in.hidden));
  LossResult out{at::empty({n}, options), at::empty({n}, options), {}};
  if (want_correct) out.correct = at::empty({n}, in.targets.options().dtype(at::kBool));
  for (int64_t i = 0; i < n; i += step) {
    const int64_t end = std::min(n, i + step);
    const Tensor z = plain.logits(in.hidden.slice(0, i, end));
    const Tensor picked = z.gather(1, in.targets.slice(0, i, end).unsqueeze(1)).squeeze(1);
    const Tensor lse = z.logsumexp(1);
    out.lse.slice(0, i, end).copy_(lse);
    out.loss.slice(0, i, end).copy_(lse - picked);
    if (want_correct) out.correct.slice(0, i, end).copy_(picked >= z.amax(1));
  }
  return out;
}

HeadGradients head_loss_backward_plain(const HeadLossInput& in, const Tensor& lse, const Tensor& scale,
                                       Wanted wanted) {
  const Plain plain(in);
  const int64_t n = in.hidden.size(0), step = rows_at_once(in.head.out());
  const auto options = in.hidden.options().dtype(loss_type(in.hidden));
  HeadGradients out;
  if (wanted.hidden) out.hidden = at::empty_like(in.hidden);
  if (wanted.head) out.head = at::zeros({in.head.out(), in.head.in()}, options);
  if (wanted.bias) out.bias = at::zeros({in.head.out()}, options);
  for (int64_t i = 0; i < n; i += step) {
    const int64_t end = std::min(n, i + step);
    const Tensor hidden = in.hidden.slice(0, i, end), g = scale.slice(0, i, end).unsqueeze(1);
    Tensor dz = (plain.logits(hidden) - lse.slice(0, i, end).unsqueeze(1)).exp_().mul_(g);
    dz.scatter_add_(1, in.targets.slice(0, i, end).unsqueeze(1), -g);
    if (wanted.bias) out.bias += dz.sum(0);
    dz = dz.to(in.hidden.scalar_type());
    if (wanted.hidden) out.hidden.slice(0, i, end).copy_(matrix_product(dz, plain.matrix));
    if (wanted.head) add_matrix_product(out.head, dz.t(), hidden);
  }
  return out;
}

}  // namespace

LossResult head_loss(const HeadLossInput& in, bool want_correct) {
  return on_kernels(in.hidden) ? head_loss_cpu(in, want_correct) : head_loss_plain(in, want_correct);
}

HeadGradients head_loss_backward(const HeadLossInput& in, const Tensor& lse, const Tensor& scale,
                                 Wanted wanted) {
  return on_kernels(in.hidden) ? head_loss_backward_cpu(in, lse, scale, wanted)
                               : head_loss_backward_plain(in, lse, scale, wanted);
}

LossResult head_cross_entropy(const Tensor& hidden, const Weight& head, const Tensor& bias,
                              const Tensor& targets, bool want_correct) {
  MNEME_CHECK(hidden.dim() == 2 && targets.dim() == 1 && targets.size(0) == hidden.size(0) &&
                  hidden.size(1) == head.in() && targets.scalar_type() == at::kLong,
              describe(hidden) + " against " + describe(targets));
  MNEME_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == head.out()), describe(bias));
  if (targets.numel() > 0) {
    const int64_t most = targets.max().item<int64_t>();
    MNEME_CHECK(most < head.out(), "target " + std::to_string(most) + " of " + std::to_string(head.out()));
  }
  return head_cross_entropy_with_grad(hidden, head, bias, targets, want_correct);
}

}  // namespace mneme
