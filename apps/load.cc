#include "apps/load.h"

#include "base/log.h"
#include "io/weights.h"
#include "ops/cpu.h"

namespace mneme {
namespace {

at::ScalarType choose_dtype(const std::string& path, const std::string& wanted) {
  if (wanted != "auto") return parse_dtype(wanted);
  const WeightSource source = WeightSource::open(path);
  bool small = !source.names().empty();
  for (const std::string& n : source.names()) {
    const at::ScalarType t = source.info(n).dtype;
    small = small && (t == at::kBFloat16 || t == at::kHalf);
  }
  return small && cpu_level_available() >= CpuLevel::avx512 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

Loaded load_for_inference(const std::string& path, const std::string& tokenizer, const CommonOptions& common,
                          const MemoryOptions& memory, bool with_tokenizer) {
  ModelLoad load;
  load.device = common.device == "auto" ? at::Device(at::kCPU) : parse_device(common.device);
  load.weights = load.activations = choose_dtype(path, common.dtype);
  load.seed = static_cast<uint64_t>(common.seed);
  if (memory.method != "none") load.memory = memory;
  Loaded out{load_model(path, load), nullptr, {}};
  if (with_tokenizer || !tokenizer.empty())
    out.tokenizer = load_tokenizer(tokenizer.empty() ? path : tokenizer);
  if (load.activations == at::kBFloat16 && load.device.is_cpu()) out.model.decoder->pack();
  out.end_ids = out.model.decoder->config().eos;
  if (out.end_ids.empty() && out.tokenizer && out.tokenizer->special().eos >= 0)
    out.end_ids.push_back(out.tokenizer->special().eos);
  log_info("model", "{}: {}, memory {}, {}", path, out.model.decoder->config().architecture,
           out.model.options.method, dtype_name(load.activations));
  return out;
}

}  // namespace mneme
