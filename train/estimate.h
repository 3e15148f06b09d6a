// What a training costs, from shapes alone: nothing of the model needs to be there.
#pragma once

#include "memory/model.h"

namespace mneme {

// Floating-point operations of one text token forwards and backwards: products with matrices (those of a
// weight's own gradient only where it is trained), the causal attention within a segment, and the slots that
// a method adds to each segment. Norms and other elementwise work, and what a replay or an activation
// checkpoint computes again, do not count.
double training_flops(const Model& model, int64_t segment);

}  // namespace mneme
