#include "apps/load.h"

#include <algorithm>

#include "base/log.h"
#include "io/hf_folder.h"
#include "io/weights.h"
#include "model/adapter.h"
#include "ops/cpu.h"

namespace mneme {
namespace {

at::ScalarType choose_dtype(const std::string& path, const std::string& wanted) {
  if (wanted != "auto") return parse_dtype(wanted);
  const WeightSource source = WeightSource::open(backbone_folder(path));
  bool small = !source.names().empty();
  for (const std::string& n : source.names()) {
    const at::ScalarType t = source.info(n).dtype;
    small = small && (t == at::kBFloat16 || t == at::kHalf);
  }
  return small && cpu_level_available() >= CpuLevel::avx512 ? at::kBFloat16 : at::kFloat;
}

// Chat models name their end of a turn in generation_config.json only.
std::vector<int64_t> end_ids_of(const std::string& path, const ModelConfig& config) {
  std::vector<int64_t> ids = config.eos;
  const HfFolder folder = HfFolder::open(path);
  const auto generation = folder.is_gguf() ? std::nullopt : folder.generation_config();
  if (!generation || !generation->contains("eos_token_id")) return ids;
  const nlohmann::json& eos = generation->at("eos_token_id");
  for (const nlohmann::json& id : eos.is_array() ? eos : nlohmann::json::array({eos})) {
    if (!id.is_number_integer()) continue;
    const int64_t value = id.get<int64_t>();
    if (std::find(ids.begin(), ids.end(), value) == ids.end()) ids.push_back(value);
  }
  return ids;
}

}  // namespace

MemoryOptions memory_of(const std::string& path) { return stored_memory(HfFolder::open(path)); }

Loaded load_for_inference(const std::string& path, const std::string& tokenizer, const CommonOptions& common,
                          const MemoryOptions& memory, bool with_tokenizer, const std::string& adapter) {
  ModelLoad load;
  load.device = common.device == "auto" ? at::Device(at::kCPU) : parse_device(common.device);
  load.weights = load.activations = choose_dtype(path, common.dtype);
  load.seed = static_cast<uint64_t>(common.seed);
  load.memory = memory;
  Loaded out{load_model(path, load), nullptr, {}};
  if (with_tokenizer || !tokenizer.empty())
    out.tokenizer = load_tokenizer(tokenizer.empty() ? path : tokenizer);
  const int64_t rows = out.model.decoder->config().vocab;
  if (out.tokenizer && out.tokenizer->vocab_size() > rows) {
    log_warning("model", "the tokenizer {} has {} tokens, the model {}: it is another model's",
                out.tokenizer->source(), out.tokenizer->vocab_size(), rows);
  }
  if (!adapter.empty()) attach_adapter(*out.model.decoder, read_adapter(adapter));
  if (load.activations == at::kBFloat16 && load.device.is_cpu()) out.model.decoder->pack();
  out.end_ids = end_ids_of(path, out.model.decoder->config());
  if (out.end_ids.empty() && out.tokenizer && out.tokenizer->special().eos >= 0)
    out.end_ids.push_back(out.tokenizer->special().eos);
  log_info("model", "{}: {}, memory {}, {}", path, out.model.decoder->config().architecture,
           out.model.options.method, dtype_name(load.activations));
  return out;
}

}  // namespace mneme
