// Models on disk: a Hugging Face folder (config.json, model.safetensors, whatever else lies there), and
// beside it mneme.json (the memory method and its options) and memory.safetensors (the parameters that the
// method adds).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/hf_folder.h"
#include "memory/model.h"

namespace mneme {

struct ModelLoad {
  at::Device device = at::kCPU;
  at::ScalarType weights = at::kFloat, activations = at::kFloat;
  std::optional<MemoryOptions> memory;  // instead of what mneme.json says
  uint64_t seed = 0;                    // of parameters that the method adds and the folder lacks
};
Model load_model(const std::string& folder, const ModelLoad& load);
// A model with random weights from a config.json.
Model fresh_model(const std::string& config_path, const MemoryOptions& memory, uint64_t seed);
// What mneme.json says; method "none" without it.
MemoryOptions stored_memory(const HfFolder& folder);
nlohmann::json memory_json(const MemoryOptions& options);  // what it says of these options
// Atomic: the folder appears whole, in place of an older one. Tokenizer files are copied from
// `tokenizer_from`, if given.
void save_model(const Model& model, const std::string& folder, const std::string& tokenizer_from = {});

}  // namespace mneme
