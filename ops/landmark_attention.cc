#include "ops/landmark_attention.h"

#include "ops/landmark_reference.h"

namespace mneme {

Tensor landmark_attention(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options,
                          Tensor* lse) {
  return landmark_attention_reference(q, keys, options, lse);
}

}  // namespace mneme
