// How fast this machine trains a model of some shape, found by training a small one like it for a moment:
// the same kind of layers, fewer of them, a smaller vocabulary and, where even that is too much, narrower
// ones. The measured model has no memory method; what a method adds is in the arithmetic that is counted.
#pragma once

#include <string>

#include "model/config.h"
#include "tensor/tensor.h"
#include "train/options.h"

namespace mneme {

struct TrainingRates {
  double passes = 0;  // FLOP/s of the passes forwards and backwards, by training_flops()
  double update = 0;  // parameters a second: the optimizer's step, and what the next pass does anew after it
  int64_t layers = 0, width = 0, tokens = 0;  // of the model that was measured, and of its passes
  double gemm = 0;                            // FLOP/s of matrix products of 512 x 1024 x 1024
};

// FLOP/s of products of a size that the machine does well.
double gemm_rate(at::ScalarType type);

// `segment`: slots of a segment. Takes a second or two, and less than half a gigabyte.
TrainingRates measure_training(const ModelConfig& shape, const TrainOptions& options, int64_t segment,
                               at::ScalarType activations);

// The part of `shape` that is measured: at most so many parameters.
ModelConfig part_of_model(const ModelConfig& shape, int64_t most_parameters);

}  // namespace mneme
