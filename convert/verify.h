// Is the model that was written the model that went in? Both read the same tokens in fp32, and their logits
// are compared. How far they may differ follows from the types on disk alone.
#pragma once

#include <string>

#include "memory/model.h"

namespace mneme {

struct LogitComparison {
  int64_t tokens = 0;
  double error = 0;      // largest difference, as a share of the logits' root mean square
  double agreement = 0;  // share of positions with the same most likely token
};

// Logits of a fixed pseudo-random text, [T, V]; a model with a memory closes a segment every third of it.
Tensor probe_logits(const Model& model, int64_t tokens);
LogitComparison compare_logits(const Tensor& before, const Tensor& after);

// Allowed error: 0 where the bits are kept, 1e-4 after fp32 arithmetic (a merged adapter), 0.01 for fp16, 0.1
// for bf16, 0.2 for Q8_0. Of a random model they are met with room to spare; a wrong layout gives about 1.
double allowed_error(const std::string& store, bool arithmetic);

}  // namespace mneme
