#include "io/adapter.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/hf_folder.h"

namespace mneme {
namespace {

using nlohmann::json;

constexpr int64_t kMaxLoraRank = 1 << 20;

// A value that means "not used".
bool is_off(const json& value) {
  return value.is_null() || value == false || value == 0 ||
         ((value.is_array() || value.is_object()) && value.empty());
}

void refuse_unsupported(const JsonReader& in) {
  for (const char* key :
       {"use_dora", "use_qalora", "use_bdlora", "lora_bias", "layer_replication", "target_parameters",
        "alora_invocation_tokens", "trainable_token_indices", "arrow_config", "velora_config"}) {
    if (in.json().contains(key) && !is_off(in.json()[key])) {
      throw Error(Kind::input, in.path(key) + " is set, which mneme does not support",
                  "merge the adapter with PEFT and load the merged model");
    }
  }
  // These change the base weights before training, so the file alone does not say what the model is.
  const json* init = in.find("init_lora_weights");
  if (init == nullptr || !init->is_string()) return;
  const std::string name = init->get<std::string>();
  for (const char* start : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
    if (name.rfind(start, 0) == 0) {
      throw Error(Kind::input,
                  in.path("init_lora_weights") + " is '" + name + "', which alters the base model",
                  "convert the adapter to a plain LoRA with PEFT");
    }
  }
}

std::vector<std::string> strings_or_none(const JsonReader& in, const char* key) {
  return in.has(key) ? in.strings(key) : std::vector<std::string>{};
}

// The pattern that PEFT would take: the first of the file's order; nlohmann sorts keys, so patterns that
// overlap and disagree cannot be told apart and are refused.
template <class T>
T patterned(const std::map<std::string, T>& patterns, const std::string& path, T fallback) {
  const T* found = nullptr;
  for (const auto& [pattern, value] : patterns) {
    if (!peft_pattern_matches(pattern, path)) continue;
    if (found != nullptr && *found != value) {
      throw Error(Kind::input, "two patterns of adapter_config.json give '" + path + "' different values");
    }
    found = &value;
  }
  return found != nullptr ? *found : fallback;
}

void check_pair(LoraPair& pair, const std::string& path, const AdapterConfig& config,
                const std::string& where) {
  const auto bad = [&](const std::string& why) {
    throw Error(Kind::input, where + ": LoRA of '" + path + "' " + why);
  };
  if (!pair.a.defined() || !pair.b.defined()) bad("has only one of its two matrices");
  if (pair.a.dim() != 2 || pair.b.dim() != 2 || pair.a.size(0) != pair.b.size(1)) {
    bad("has matrices " + describe(pair.a) + " and " + describe(pair.b) + " that do not multiply");
  }
  const int64_t rank = patterned(config.rank_pattern, path, config.rank);
  if (pair.a.size(0) != rank) {
    bad("has rank " + std::to_string(pair.a.size(0)) + ", adapter_config.json says " + std::to_string(rank));
  }
  const double alpha = patterned(config.alpha_pattern, path, config.alpha);
  const auto r = static_cast<double>(rank);
  pair.scale = alpha / (config.rank_stabilised ? std::sqrt(r) : r);
}

}  // namespace

AdapterConfig AdapterConfig::parse(const json& value, const std::string& where) {
  const JsonReader in(value, where);
  if (in.string("peft_type", "LORA") != "LORA") in.fail("peft_type", "LORA");
  refuse_unsupported(in);
  AdapterConfig c;
  c.rank = in.integer_in("r", 1, kMaxLoraRank, 8);
  c.alpha = in.number("lora_alpha", 8);
  c.dropout = in.number("lora_dropout", 0);
  c.rank_stabilised = in.boolean("use_rslora", false);
  c.fan_in_fan_out = in.boolean("fan_in_fan_out", false);
  c.bias = in.string("bias", "none");
  if (c.bias != "none" && c.bias != "all" && c.bias != "lora_only") in.fail("bias", "none, all or lora_only");
  c.base_model = in.string("base_model_name_or_path", "");
  c.task_type = in.string("task_type", "CAUSAL_LM");
  const json* targets = in.find("target_modules");
  c.target_is_pattern = targets != nullptr && targets->is_string();
  c.target_modules = c.target_is_pattern ? std::vector<std::string>{in.string("target_modules")}
                                         : strings_or_none(in, "target_modules");
  c.modules_to_save = strings_or_none(in, "modules_to_save");
  if (const auto patterns = in.object_if("rank_pattern")) {
    for (const auto& [key, unused] : patterns->json().items())
      c.rank_pattern[key] = patterns->integer_in(key, 1, kMaxLoraRank);
  }
  if (const auto patterns = in.object_if("alpha_pattern")) {
    for (const auto& [key, unused] : patterns->json().items()) c.alpha_pattern[key] = patterns->number(key);
  }
  return c;
}

json AdapterConfig::to_json() const {
  json out;
  out["peft_type"] = "LORA";
  out["task_type"] = task_type;
  out["base_model_name_or_path"] = base_model;
  out["inference_mode"] = true;
  out["r"] = rank;
  out["lora_alpha"] = alpha == std::floor(alpha) ? json(static_cast<int64_t>(alpha)) : json(alpha);
  out["lora_dropout"] = dropout;
  out["use_rslora"] = rank_stabilised;
  out["fan_in_fan_out"] = fan_in_fan_out;
  out["bias"] = bias;
  out["target_modules"] = target_is_pattern ? json(target_modules.at(0)) : json(target_modules);
  out["modules_to_save"] = modules_to_save.empty() ? json(nullptr) : json(modules_to_save);
  out["rank_pattern"] = json::object();
  for (const auto& [key, value] : rank_pattern) out["rank_pattern"][key] = value;
  out["alpha_pattern"] = json::object();
  for (const auto& [key, value] : alpha_pattern) out["alpha_pattern"][key] = value;
  out["init_lora_weights"] = true;
  out["use_dora"] = false;
  for (const char* unused : {"auto_mapping", "revision", "layers_pattern", "layers_to_transform"})
    out[unused] = nullptr;
  return out;
}

Tensor LoraPair::delta(bool fan_in_fan_out) const {
  const Tensor product = at::mul(at::matmul(b, a), scale);
  return embedding || fan_in_fan_out ? product.t() : product;
}

Adapter make_adapter(AdapterConfig config, const WeightSource& weights) {
  Adapter out;
  out.config = std::move(config);
  for (const std::string& name : weights.names()) {
    const PeftName parsed = parse_peft_name(name);
    const auto place = [&](Tensor LoraPair::*matrix, bool embedding) {
      LoraPair& pair = out.pairs[parsed.path];
      const bool mixed = (pair.a.defined() || pair.b.defined()) && pair.embedding != embedding;
      if (mixed || (pair.*matrix).defined())
        throw Error(Kind::input, weights.where() + ": '" + name + "' occurs twice");
      pair.embedding = embedding;
      pair.*matrix = weights.tensor(name);
    };
    switch (parsed.part) {
      case PeftName::Part::lora_a:
        place(&LoraPair::a, false);
        break;
      case PeftName::Part::lora_b:
        place(&LoraPair::b, false);
        break;
      case PeftName::Part::embedding_a:
        place(&LoraPair::a, true);
        break;
      case PeftName::Part::embedding_b:
        place(&LoraPair::b, true);
        break;
      case PeftName::Part::original:
        break;
      case PeftName::Part::whole:
        if (!out.whole.emplace(parsed.path, weights.tensor(name)).second) {
          throw Error(Kind::input, weights.where() + ": '" + name + "' occurs twice");
        }
    }
  }
  for (auto& [path, pair] : out.pairs) check_pair(pair, path, out.config, weights.where());
  return out;
}

Adapter read_adapter(const std::string& path) {
  const HfFolder folder = HfFolder::open(path);
  if (!folder.is_adapter()) {
    throw Error(Kind::input, "no adapter_config.json in '" + path + "'", "give the folder that PEFT wrote");
  }
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (!folder.has(name)) continue;
    AdapterConfig config =
        AdapterConfig::parse(folder.json("adapter_config.json"), folder.file("adapter_config.json"));
    return make_adapter(std::move(config), WeightSource::open(folder.file(name)));
  }
  throw Error(Kind::input, "no adapter_model.safetensors or adapter_model.bin in '" + path + "'");
}

void write_adapter(const FolderWriter& folder, const Adapter& adapter) {
  NamedTensors tensors;
  for (const auto& [name, pair] : adapter.pairs) {
    const std::string key = "base_model.model." + name;
    tensors.emplace_back(key + (pair.embedding ? ".lora_embedding_A" : ".lora_A.weight"), pair.a);
    tensors.emplace_back(key + (pair.embedding ? ".lora_embedding_B" : ".lora_B.weight"), pair.b);
  }
  for (const auto& [name, tensor] : adapter.whole) tensors.emplace_back("base_model.model." + name, tensor);
  folder.json("adapter_config.json", adapter.config.to_json());
  write_safetensors(folder.file("adapter_model.safetensors"), tensors, {{"format", "pt"}});
}

void write_adapter(const std::string& path, const Adapter& adapter, bool replace) {
  FolderWriter folder(path, replace);
  write_adapter(folder, adapter);
  folder.commit();
}

}  // namespace mneme
