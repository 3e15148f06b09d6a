// clang-format off
// The tensor type and the few libtorch headers the house uses. This is the only file that knows libtorch
// versions (the collectives' file in train/ is the other exception). It is not a wrapper: `Tensor` is at::Tensor.
//
// Letters of the shapes in comments, everywhere in the house:
//   B rows (texts in a batch)   T new positions (queries)   S keys            H query heads   G key/value heads
//   K head width                D model width               E embedding width F inner width   V vocabulary
//   L layers                    M memory slots              N any count
#pragma once

// clang 14 fails unless ivalue.h comes first.
#include <ATen/core/ivalue.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
// clang-format on

#include <string>

namespace mneme {

using at::Tensor;

// "[2, 3, 4] float32", for messages.
std::string describe(const Tensor& t);

// float32, bfloat16, ... as users write them: "fp32", "bf16", "fp16", "fp64" and their long names.
// Throws Error{usage} naming the valid ones.
at::ScalarType parse_dtype(const std::string& name);
std::string dtype_name(at::ScalarType dtype);

// The type in which matrix products are computed there: "auto" is bf16 on CUDA devices and on CPUs with
// matrix units or instructions for it, fp32 elsewhere; the other names are those of parse_dtype.
at::ScalarType compute_dtype(const std::string& name, at::Device device);

// "auto" (the first CUDA device, else the CPU), "cpu", "cuda", "cuda:1". Throws Error{usage} when the device
// is unknown or not there.
at::Device parse_device(const std::string& name);

}  // namespace mneme
