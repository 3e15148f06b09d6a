// Models on disk: a Hugging Face folder (config.json, model.safetensors, whatever else lies there), and
// beside it mneme.json (the memory method and its options) and memory.safetensors (the parameters that the
// method adds).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/hf_folder.h"
#include "memory/model.h"
#include "model/lora.h"

namespace mneme {

struct ModelLoad {
  at::Device device = at::kCPU;
  at::ScalarType weights = at::kFloat, activations = at::kFloat;
  std::optional<MemoryOptions> memory;  // instead of what mneme.json says
  uint64_t seed = 0;                    // of parameters that the method adds and the folder lacks
};
// The folder may also hold a PEFT adapter: the base that its adapter_config.json names (as it stands there,
// or beside the folder) is loaded and the adapter merged into it.
Model load_model(const std::string& folder, const ModelLoad& load);
// Where the backbone's files are: `path` itself, or the base of the adapter in it.
std::string backbone_folder(const std::string& path);
// A model with random weights from a config.json.
Model fresh_model(const std::string& config_path, const MemoryOptions& memory, uint64_t seed);
// What mneme.json says; method "none" without it.
MemoryOptions stored_memory(const HfFolder& folder);
nlohmann::json memory_json(const MemoryOptions& options);  // what it says of these options
// Atomic: the folder appears whole, in place of an older one. Tokenizer files are copied from
// `tokenizer_from`, if given.
void save_model(const Model& model, const std::string& folder, const std::string& tokenizer_from = {});
// The same for a model with LoRA, without its base: an adapter folder of PEFT's, mneme.json and
// memory.safetensors. `whole`: parameters of the decoder that were trained beside the adapters.
void save_adapter(const Model& model, const LoraOptions& lora, const std::vector<Parameter>& whole,
                  const std::string& base, const std::string& folder);

}  // namespace mneme
