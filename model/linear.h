// A linear layer of the decoder: a weight, perhaps a bias, perhaps a LoRA adapter beside it.
//
//   y = x Wᵀ + b + (alpha / r) · B A dropout(x)
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.h"
#include "ops/linear.h"
#include "tensor/tensor.h"

namespace mneme {

// Shares that are dropped while training: of the sum of embedding and positions, of the attention's weights,
// and of what each branch adds to the residual stream.
struct DropoutRates {
  double embedding = 0, attention = 0, residual = 0;
};

// Where training draws its random numbers; null pointers to it mean evaluation, which draws none. A draw is a
// function of seed, step, text, segment, layer and slot, so a replay or an activation checkpoint draws the
// same.
struct Draws {
  Site site;  // seed, step; row: the first text of the batch
  DropoutRates dropout;
  std::vector<Site> rows;  // of each row of a pass (memory/pass.h); position: its first slot

  // For x [B, T, width] of such a pass.
  std::vector<Site> sites(int64_t batch, int64_t width, Draw what, int64_t layer) const;
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
