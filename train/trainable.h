// Which parameters a training changes, and the types that all of them are held in.
//
//   without LoRA  all of the decoder and of the memory, but those that the method leaves alone
//   with LoRA     the adapters and the memory
// then `unfreeze` adds and `freeze` takes away, by patterns over names (base/glob.h).
//
// Trained parameters are fp32 masters. Matrices that stay as they are take the type of the products, so a
// frozen backbone costs two bytes a weight in bf16.
#pragma once

#include <string>
#include <vector>

#include "memory/model.h"
#include "model/lora.h"

namespace mneme {

struct TrainableOptions {
  LoraOptions lora;
  std::vector<std::string> freeze, unfreeze;
  void visit(OptionVisitor& v) {
    v.field("freeze", freeze, "patterns of parameters that stay as they are (embedding, layers.0.*)");
    v.field("unfreeze", unfreeze,
            "patterns of parameters that are trained although LoRA or the method would leave them alone");
    v.section("lora", lora, "low-rank adapters beside frozen matrices");
  }
};

// Of the decoder, its adapters and the memory, in this order; names are unique.
std::vector<Parameter> all_parameters(const Model& model);

// The trained ones of them, in their order. Throws Error{usage} for a pattern that no name matches, and when
// nothing is left to train.
std::vector<Parameter> trained_parameters(const Model& model, const TrainableOptions& options);

// Attaches LoRA, gives every parameter its type, and makes the trained ones leaves of their own (loaded ones
// may lie in a mapped file). Returns the trained ones.
std::vector<Parameter> prepare_training(Model& model, const TrainableOptions& options, at::Device device,
                                        at::ScalarType activations, uint64_t seed);

}  // namespace mneme
