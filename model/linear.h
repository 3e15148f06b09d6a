// A linear layer of the decoder: a weight, perhaps a bias, perhaps a LoRA adapter beside it.
//
//   y = x Wᵀ + b + (alpha / r) · B A dropout(x)
#pragma once

#include <cstdint>
#include <optional>

#include "base/random.h"
#include "ops/linear.h"
#include "tensor/tensor.h"

namespace mneme {

// Where a pass draws its random numbers; null pointers to it mean evaluation, which draws none.
struct Draws {
  Site site;  // seed, step, row and segment are set by the caller; layer and site by the decoder
};

struct Lora {
  Tensor a;            // [r, in]
  Tensor b;            // [out, r]
  double scale = 1.0;  // alpha / r
  double dropout = 0.0;
};

struct Linear {
  Weight weight;  // [out, in]
  Tensor bias;    // [out] or undefined
  std::optional<Lora> lora;

  Tensor operator()(const Tensor& x, const Draws* draws = nullptr, int64_t layer = 0, int64_t site = 0) const;
  bool defined() const { return weight.defined(); }
};

}  // namespace mneme
