#include "ops/attention.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ops/attention_impl.h"

namespace mneme {
namespace {

bool wants_grad(const Tensor& t) { return t.defined() && t.requires_grad(); }

}  // namespace

Tensor attention(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options,
                 Tensor* lse) {
  check_attention(q, sources, options);
  if (!attention_kernels_take(q, sources, options)) return attention_reference(q, sources, options, lse);
  bool differentiated = wants_grad(q), outside = false;
  for (const Keys& keys : sources) {
    const bool inner = wants_grad(keys.bias) || wants_grad(keys.slopes);
    outside = outside || inner;
    differentiated =
        differentiated || inner || wants_grad(keys.q) || wants_grad(keys.k) || wants_grad(keys.v);
  }
  if (!at::GradMode::is_enabled() || !differentiated) return attention_forward(q, sources, options, lse);
  if (outside) return attention_reference(q, sources, options, lse);
  return attention_with_gradients(q, sources, options, lse);
}

}  // namespace mneme
