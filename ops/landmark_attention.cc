#include "ops/landmark_attention.h"

#include <ATen/core/grad_mode.h>

#include "ops/landmark_fused.h"
#include "ops/landmark_reference.h"

namespace mneme {

Tensor landmark_attention(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options,
                          Tensor* lse) {
  check_landmark_arguments(q, keys, options);
  if (!landmark::kernels_take(q, keys, options)) return landmark_attention_reference(q, keys, options, lse);
  const LandmarkOptions drawn = with_gate_draws(q, keys, options);
  auto wants = [](const Tensor& t) { return t.defined() && t.requires_grad(); };
  if (at::GradMode::is_enabled() && (wants(q) || wants(keys.k) || wants(keys.v) || wants(options.miss_key))) {
    return landmark::with_gradients(q, keys, drawn, lse);
  }
  Tensor sums;
  return landmark::forward(landmark::prepare(q, keys, drawn), lse ? lse : &sums);
}

}  // namespace mneme
