// LoRA adapters in PEFT's folder layout: adapter_config.json beside adapter_model.safetensors (or .bin). The
// effective weight of a module is  W + scale * B A,  of an embedding  E + scale * (B A)^T;  scale = alpha /
// rank, or alpha / sqrt(rank) with use_rslora. Applying them is the model's business (model/lora).
//
// Read, besides the pairs: whole tensors (modules_to_save, trained biases and norms, an embedding or head
// with rows for new tokens). Options that change the arithmetic in other ways (DoRA, PiSSA, layer
// replication, ...) are refused by name.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/blob.h"
#include "io/hf_folder.h"
#include "io/weights.h"

namespace mneme {

struct AdapterConfig {
  int64_t rank = 8;
  double alpha = 8, dropout = 0;
  bool rank_stabilised = false;  // use_rslora
  bool fan_in_fan_out = false;   // the base's weights are [in, out] (GPT-2's Conv1D): W + scale * (B A)^T
  std::vector<std::string>
      target_modules;  // ends of module paths; one entry with target_is_pattern: a regular expression
  bool target_is_pattern = false;
  std::vector<std::string> modules_to_save;
  std::string bias = "none";  // "all", "lora_only": whole tensors hold the biases
  std::string base_model, task_type = "CAUSAL_LM";
  std::map<std::string, int64_t> rank_pattern;  // by end of path or regular expression
  std::map<std::string, double> alpha_pattern;

  static AdapterConfig parse(const nlohmann::json& value, const std::string& where);
  nlohmann::json to_json() const;  // as PEFT writes it
};

struct LoraPair {
  Tensor a;  // [R, E of the input]; embeddings: [R, V]
  Tensor b;  // [E of the output, R]; embeddings: [D, R]
  bool embedding = false;
  double scale = 1;
  Tensor delta(bool fan_in_fan_out = false) const;  // what is added to the base's weight
};

struct Adapter {
  AdapterConfig config;
  std::map<std::string, LoraPair> pairs;  // by path in the base model: "model.layers.0.self_attn.q_proj"
  // By name in the base model: "model.norm.weight". They replace the base's tensor; one of an embedding or
  // head with fewer rows than the vocabulary holds rows that follow the base's.
  std::map<std::string, Tensor> whole;
};

Adapter read_adapter(const std::string& folder);
Adapter make_adapter(AdapterConfig config, const WeightSource& weights);  // the same from parts
// A whole new folder (see FolderWriter); `replace` an older one.
void write_adapter(const std::string& folder, const Adapter& adapter, bool replace = false);
void write_adapter(const FolderWriter& folder, const Adapter& adapter);  // the two files, among others

// The spellings of PEFT's tensors, also inside of full checkpoints of wrapped models. `path` is the module's,
// or of a whole tensor its name, in the model without any wrapper. `original` is what modules_to_save has
// replaced: of no use.
struct PeftName {
  enum class Part { lora_a, lora_b, embedding_a, embedding_b, whole, original };
  Part part = Part::whole;
  std::string path;
};
PeftName parse_peft_name(const std::string& name);

// What PEFT means by a key of rank_pattern or alpha_pattern, or by a target: the whole path, or its end after
// a dot.
bool peft_pattern_matches(const std::string& pattern, const std::string& path);

}  // namespace mneme
