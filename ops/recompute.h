// Activation checkpointing: a part of a network that keeps its inputs instead of what lies between them and
// its outputs, and is computed once more in the backward pass.
//
// The part must be a function of its inputs and of leaves (parameters): it runs twice and must do the same
// both times, so random numbers come from sites (base/random.h), and it may change nothing outside. Tensors
// with a graph that it captures instead of taking as inputs would get wrong gradients.
#pragma once

#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

using RecomputedPart = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

// The part's outputs, all defined. Gradients of leaves are added to theirs. `leaves`: an address that tells
// parts with the same leaves, for last_gradient(). A run of such a part is open until it has been computed
// again, or its graph is gone.
std::vector<Tensor> recomputed(const RecomputedPart& part, const std::vector<Tensor>& inputs,
                               const void* leaves);

// For hooks of leaves, in a backward pass: whether the gradient that has just been added is the last one.
// False while a part is computed again of whose leaves other runs are open.
bool last_gradient();

}  // namespace mneme
