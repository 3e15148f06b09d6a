// What a `train` case asks of any method: gradients under the originals' names, their norm, and AdamW steps.
#pragma once

#include <functional>

#include "memory/model.h"
#include "verify/golden_case.h"

namespace mneme {

// `forward` computes the loss of one step (its number is given) and may put what else the case expects.
// Expects of the config: `adamw` {lr, betas, eps, weight_decay, steps}; without it there is one backward
// pass.
void run_training(const GoldenCase& golden, const std::vector<Parameter>& trained, const Naming& naming,
                  const std::function<Tensor(int64_t step)>& forward, Results& results);

}  // namespace mneme
