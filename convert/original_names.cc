#include "convert/original_names.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace mneme {
namespace {

bool starts_with(const std::string& s, const std::string& start) { return s.rfind(start, 0) == 0; }

bool is_lora(PeftName::Part part) {
  return part != PeftName::Part::whole && part != PeftName::Part::original;
}

}  // namespace

bool is_original(const WeightSource& source) {
  const auto& names = source.names();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& n) { return starts_with(n, kOriginalPrefix); });
}

OriginalParts split_original(const WeightSource& source) {
  const std::string prefix = kOriginalPrefix;
  const auto& names = source.names();
  const bool wrapped = std::any_of(names.begin(), names.end(), [&](const std::string& n) {
    return starts_with(n, prefix + "base_model.model.");
  });
  const auto inner = [&](const std::string& n) {
    return starts_with(n, prefix) ? n.substr(prefix.size()) : std::string();
  };
  OriginalParts out{source.renamed([&](const std::string& n) -> std::string {
                      const std::string name = inner(n);
                      if (!wrapped || name.empty()) return name;
                      const PeftName parsed = parse_peft_name(name);
                      return parsed.part == PeftName::Part::whole ? parsed.path : "";
                    }),
                    source.renamed([&](const std::string& n) { return starts_with(n, prefix) ? "" : n; }),
                    {}};
  WeightSource lora = source.renamed([&](const std::string& n) -> std::string {
    const std::string name = inner(n);
    return wrapped && !name.empty() && is_lora(parse_peft_name(name).part) ? name : "";
  });
  if (!lora.names().empty()) out.lora = std::move(lora);
  return out;
}

Adapter adapter_inside(const WeightSource& lora, double alpha) {
  AdapterConfig config;
  config.alpha = alpha;
  bool first = true;
  for (const std::string& name : lora.names()) {
    const PeftName parsed = parse_peft_name(name);
    const std::string module = parsed.path.substr(parsed.path.rfind('.') + 1);
    if (std::find(config.target_modules.begin(), config.target_modules.end(), module) ==
        config.target_modules.end())
      config.target_modules.push_back(module);
    if (parsed.part != PeftName::Part::lora_a && parsed.part != PeftName::Part::embedding_a) continue;
    const int64_t rank = lora.info(name).shape.at(0);
    if (!first && rank != config.rank) config.rank_pattern[parsed.path] = rank;
    if (first) config.rank = rank;
    first = false;
  }
  return make_adapter(std::move(config), lora);
}

MemoryOptions guess_memory(const Shapes& added) {
  const auto shape = [&](const char* name) -> std::vector<int64_t> {
    const auto found = added.find(name);
    return found == added.end() ? std::vector<int64_t>{} : found->second;
  };
  MemoryOptions o;
  const std::vector<int64_t> memory = shape("memory_cell.memory"), query = shape("cross_attn.wq.weight");
  if (added.count("memory_cell.mem_map.linear.weight") > 0) {
    o.method = "hmt";
    o.hmt.recall = "lookahead";
    o.hmt.recall_dtype = "bf16";
    o.hmt.mode = memory.empty() ? "baseline" : query.empty() ? "rmt" : "hmt";
    if (query.size() == 2) o.hmt.recall_width = query[0];
  } else if (memory.size() == 2) {
    o.method = "rmt";
    o.rmt.memory_tokens = memory[0];
  } else {
    return o;
  }
  log_warning("convert",
              "the checkpoint does not say its method's options: taken as {} by its shapes, with the default "
              "segment; --memory.method and --memory.{}.* say otherwise",
              o.method, o.method);
  return o;
}

}  // namespace mneme
