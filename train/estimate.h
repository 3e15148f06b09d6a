// What a training costs, from shapes alone: parameters, memory, tokens, arithmetic. Nothing of the model
// needs to be in memory, so models of any size can be counted.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "memory/model.h"
#include "train/options.h"

namespace mneme {

// Floating-point operations of one text token forwards and backwards: products with matrices (those of a
// weight's own gradient only where it is trained), the causal attention within a segment, and the slots that
// a method adds to each segment. Norms and other elementwise work, and what a replay or an activation
// checkpoint computes again, do not count. `trained`: names.
double training_flops(const Model& model, const std::vector<Parameter>& trained, int64_t segment);

// A model without tensors: its config, its method, its adapters.
Model shape_of_model(const nlohmann::json& config, const MemoryOptions& memory, const LoraOptions& lora);

struct TrainingEstimate {
  int64_t parameters = 0, trained = 0;
  int64_t segment = 0, longest_text = 0;  // in text tokens
  double tokens = 0, flops = 0;           // of the whole training
  // Bytes. The products' copies of matrices are those of the bf16 kernels on the CPU.
  double weights = 0, packed = 0, gradients = 0, optimizer = 0, activations = 0;
  double bytes() const { return weights + packed + gradients + optimizer + activations; }
};

// `text_segment`: text tokens of a segment of the data.
TrainingEstimate estimate_training(const Model& shape, const TrainOptions& options, int64_t text_segment,
                                   at::ScalarType activations);

}  // namespace mneme
