// A model taken out of its files: configuration, weights under Hugging Face's names, the memory's own
// parameters, all of them still in the files they came in. Every form that mneme reads becomes a package, and
// every form that it writes is made from one (convert/write.h):
//
//   Hugging Face folder (safetensors, pytorch_model.bin, shards), with or without mneme.json
//   GGUF file
//   checkpoint of the original RMT or HMT: "memory_cell.model." before the backbone's names, the memory's
//   parameters beside it, perhaps PEFT's adapters inside
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/adapter.h"
#include "io/weights.h"
#include "memory/model.h"

namespace mneme {

struct Package {
  nlohmann::json config;  // Hugging Face's
  WeightSource weights;
  MemoryOptions memory;
  std::optional<WeightSource> added;  // parameters of the memory, under the originals' names
  std::optional<Adapter> adapter;     // not merged
  std::string files;                  // where tokenizer and generation_config.json are; empty: nowhere
  bool known = true;                  // the architecture is one of ours, and names and shapes were checked
};

struct PackageOptions {
  std::string config = {};              // a config.json, for weights without one beside them
  std::string section = {};             // of a PyTorch checkpoint, see WeightOptions
  std::optional<MemoryOptions> memory;  // instead of what the files say
  double lora_alpha = 0;                // of adapters inside a checkpoint; 0: what config.json says
};

Package read_package(const std::string& path, const PackageOptions& options = {});
// All tensors that the config implies are there and fit; else Error{input}. An architecture that is not ours
// is only remarked upon.
void check_package(Package& package);
// The model in memory, fp32, with the adapter beside the weights: what a conversion is compared with.
Model load_package(const Package& package);

}  // namespace mneme
