// The definition of landmark attention in differentiable tensor operations, for any floating type and device.
// It materialises [B, H, T, S]: it is what the kernels are tested against and what runs where there is none.
#pragma once

#include "ops/landmark_attention.h"

namespace mneme {

// Who sees what; all bool [B, T, S] but `block`.
struct LandmarkSets {
  Tensor masked;  // invisible: the future, padding, and the landmark of the query's own block
  Tensor cur;     // visible ordinary tokens of the own block
  Tensor gate;    // visible landmarks; all belong to earlier blocks
  Tensor past;    // ordinary tokens of earlier blocks
  Tensor block;   // int64 [B, S]: landmarks in front of the key
};
LandmarkSets landmark_sets(const LandmarkKeys& keys, int64_t queries);

// [B, H, T, S]
Tensor landmark_weights_reference(const Tensor& q, const LandmarkKeys& keys,
                                  const LandmarkOptions& options = {}, Tensor* lse = nullptr);

Tensor landmark_attention_reference(const Tensor& q, const LandmarkKeys& keys,
                                    const LandmarkOptions& options = {}, Tensor* lse = nullptr);

// The options with the draws of group dropout made, as gate_keep.
LandmarkOptions with_gate_draws(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options);

// Throws Error unless shapes, types and options fit together.
void check_landmark_arguments(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options);

}  // namespace mneme
