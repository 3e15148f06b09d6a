#include "ops/cross_entropy.h"

#include "base/error.h"

namespace mneme {

LossResult head_cross_entropy(const Tensor& hidden, const Weight& head, const Tensor& bias,
                              const Tensor& targets, bool want_correct) {
  MNEME_CHECK(hidden.dim() == 2 && targets.dim() == 1 && targets.size(0) == hidden.size(0),
              describe(hidden) + " against " + describe(targets));
  const Tensor kept = at::nonzero(targets >= 0).squeeze(1);
  const Tensor wanted = targets.index_select(0, kept);
  Tensor logits = linear(hidden.index_select(0, kept), head, bias);
  if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
  const Tensor lse = logits.logsumexp(1);
  const Tensor loss = lse - logits.gather(1, wanted.unsqueeze(1)).squeeze(1);
  LossResult result;
  const Tensor zeros = at::zeros({hidden.size(0)}, loss.options().requires_grad(false));
  result.loss = zeros.index_copy(0, kept, loss);
  result.lse = zeros.index_copy(0, kept, lse.detach());
  if (want_correct) {
    result.correct = at::zeros({hidden.size(0)}, targets.options().dtype(at::kBool));
    result.correct.index_copy_(0, kept, logits.argmax(1).eq(wanted));
  }
  return result;
}

}  // namespace mneme
