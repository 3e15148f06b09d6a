#include "verify/recurrent.h"

#include <algorithm>

#include "base/error.h"
#include "model/lora.h"

namespace mneme {

namespace {

bool any_name(const TensorSource& weights, const std::string& part) {
  return std::any_of(weights.names.begin(), weights.names.end(),
                     [&](const std::string& n) { return n.find(part) != std::string::npos; });
}

// PEFT's names, in older files without ".base_layer" in wrapped modules.
Naming adapter_naming(Decoder& decoder, const std::string& prefix, const TensorSource& weights) {
  const Naming peft = peft_naming(decoder, prefix);
  if (any_name(weights, ".base_layer.")) return peft;
  return [peft](const Parameter& p) {
    constexpr const char* kWrapped = ".base_layer";
    FileName f = peft(p);
    if (const size_t at = f.name.find(kWrapped); at != std::string::npos)
      f.name.erase(at, std::string(kWrapped).size());
    return f;
  };
}

// The type that the config names, in either of the originals' ways.
at::ScalarType case_type(const nlohmann::json& config) {
  const std::string name =
      value_or<std::string>(config, "dtype", value_or<std::string>(config, "torch_dtype", "float32"));
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  throw Error(Kind::input, "config.json: torch_dtype '" + name + "'",
              "known are float32, float64, bfloat16 and float16");
}

}  // namespace

CaseModel load_case_model(const GoldenCase& golden, const MemoryOptions& options,
                          const std::string& wrapped) {
  const TensorSource weights = golden.weights();
  const std::string prefix = any_name(weights, wrapped) ? wrapped : "";
  CaseModel c;
  c.model.decoder = std::make_unique<Decoder>(parse_model_config(golden.config()));
  c.model.decoder->initialise(0);
  c.model.options = options;
  c.model.memory = make_memory(*c.model.decoder, options);
  const nlohmann::json lora = golden.section("lora");
  c.naming = file_naming(c.model.decoder->config(), prefix);
  if (!lora.empty()) {
    LoraOptions o;
    o.rank = lora.at("r").get<int64_t>();
    o.alpha = lora.at("alpha").get<double>();
    o.targets = lora.at("targets").get<std::vector<std::string>>();
    attach_lora(*c.model.decoder, o, 0);
    c.naming = adapter_naming(*c.model.decoder, prefix, weights);
  }
  c.all = c.model.parameters();
  const std::vector<Parameter> adapters = lora_parameters(*c.model.decoder);
  c.trained = lora.empty() ? c.all : c.model.memory->parameters();
  c.all.insert(c.all.end(), adapters.begin(), adapters.end());
  c.trained.insert(c.trained.end(), adapters.begin(), adapters.end());
  const NameMap names(c.model.decoder->config());
  LoadRules rules;
  const bool tied = c.model.decoder->config().tied_head;
  rules.ignorable = [&](const std::string& n) {
    return names.ignorable(n) || (tied && n.ends_with("lm_head.weight"));
  };
  rules.dtype = case_type(golden.config());
  load_parameters(c.all, c.naming, weights, rules);
  for (const Parameter& p : c.all) p.set(p.value().clone());  // files are mapped read-only
  c.model.decoder->to(at::kCPU, rules.dtype, rules.dtype);
  return c;
}

Batch segment_batch(const Tensor& ids, const Tensor& mask, int64_t begin, int64_t end, bool closes) {
  Batch b;
  b.ids = ids.narrow(1, begin, end - begin).contiguous();
  if (mask.defined()) b.mask = mask.narrow(1, begin, end - begin).to(at::kBool);
  std::vector<int64_t> ends;
  if (closes) ends.push_back(end - begin);
  b.ends = std::vector<std::vector<int64_t>>(static_cast<size_t>(ids.size(0)), ends);
  return b;
}

Tensor traced(const Trace& trace, const std::string& name) {
  for (const Trace::Item& i : trace.items) {
    if (i.name == name) return i.value;
  }
  return {};
}

void generate_greedily(const GoldenCase& golden, Tensor logits,
                       const std::function<Tensor(const Tensor&)>& next, Results& results) {
  const int64_t count = golden.section("generate").at("max_new_tokens").get<int64_t>();
  std::vector<Tensor> tokens, all;
  for (int64_t t = 0; t < count; ++t) {
    all.push_back(logits);
    tokens.push_back(logits.argmax(-1, true));
    if (t + 1 < count) logits = next(tokens.back());
  }
  results.put("generated", at::cat(tokens, 1));
  results.put("generated_logits", at::stack(all, 1));
}

}  // namespace mneme
