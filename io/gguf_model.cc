#include "io/gguf_model.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "io/gguf_config.h"
#include "io/weights.h"

namespace mneme {
namespace {

// Rows that a layout divides by must be divisible.
void check_layout(const std::string& where, const std::string& name, const std::vector<int64_t>& shape,
                  GgufLayout layout, const GgufHeads& heads) {
  int64_t unit = 1;
  size_t rank = 1;
  if (layout == GgufLayout::rotary_query) unit = 2 * heads.query;
  if (layout == GgufLayout::rotary_key) unit = 2 * heads.key;
  if (layout == GgufLayout::interleaved_qkv) unit = 3 * heads.query;
  if (layout == GgufLayout::transposed) rank = 2;
  if (layout == GgufLayout::same || (shape.size() >= rank && shape.size() <= 2 && shape[0] % unit == 0))
    return;
  throw Error(Kind::input, where + ": tensor '" + name + "' of shape " + format_shape(shape) +
                               " does not fit " + std::to_string(heads.query) + " heads");
}

uint32_t file_type(GgmlType type) {  // llama.cpp's numbers of "mostly this type"
  switch (type) {
    case GgmlType::f32:
      return 0;
    case GgmlType::f16:
      return 1;
    case GgmlType::q8_0:
      return 7;
    case GgmlType::bf16:
      return 32;
    case GgmlType::q4_0:
      break;
  }
  throw Error(Kind::usage, "GGUF files of type Q4_0 are read, not written", "use F16, BF16 or Q8_0");
}

GgmlType stored_type(const std::string& name, const std::vector<int64_t>& shape, GgmlType type) {
  // llama.cpp adds positions and norms in fp32 and expects them so.
  if (shape.size() < 2 || name == "position_embd.weight") return GgmlType::f32;
  return is_quantised(type) && shape.back() % kGgmlBlock != 0 ? GgmlType::f16 : type;
}

GgufTensor translated(const WeightSource& weights, const std::string& hf, const GgufName& to,
                      const GgufHeads& heads, GgmlType type) {
  LazyTensor source = weights.lazy(hf);
  check_layout(weights.where(), hf, source.shape, to.layout, heads);
  if (to.layout == GgufLayout::transposed) std::swap(source.shape[0], source.shape[1]);
  source.load = [load = source.load, layout = to.layout, heads] {
    return to_gguf_layout(load(), layout, heads);
  };
  source.name = to.name;
  const GgmlType stored = stored_type(to.name, source.shape, type);
  return {std::move(source), stored};
}

}  // namespace

GgufModel::GgufModel(GgufFile file) : file_(std::move(file)) {
  heads_ = heads_of(hf_config_of(file_));
  const GgufArchitecture& architecture =
      gguf_architecture(std::string(*file_.metadata().text("general.architecture")));
  for (const std::string& name : file_.names()) {
    if (name == kRopeFactors) continue;  // part of the config
    const auto hf = hf_name(architecture, name);
    if (!hf) {
      throw Error(Kind::input,
                  file_.where() + ": tensor '" + name + "' is not known in a " + architecture.name);
    }
    check_layout(file_.where(), name, file_.info(name).shape, hf->layout, heads_);
    sources_.emplace(hf->name, GgufName{name, hf->layout});
    names_.push_back(hf->name);
  }
}

const GgufName& GgufModel::source(const std::string& name) const {
  const auto found = sources_.find(name);
  if (found == sources_.end()) throw Error(Kind::input, file_.where() + " has no tensor '" + name + "'");
  return found->second;
}

std::vector<int64_t> GgufModel::shape(const std::string& name) const {
  const GgufName& from = source(name);
  std::vector<int64_t> shape = file_.info(from.name).shape;
  if (from.layout == GgufLayout::transposed) std::swap(shape[0], shape[1]);
  return shape;
}

at::ScalarType GgufModel::dtype(const std::string& name, at::ScalarType quantised_as) const {
  return plain_dtype(file_.info(source(name).name).type).value_or(quantised_as);
}

Tensor GgufModel::tensor(const std::string& name, at::ScalarType quantised_as) const {
  const GgufName& from = source(name);
  return to_hf_layout(file_.tensor(from.name, quantised_as), from.layout, heads_);
}

void export_gguf(const std::string& path, const WeightSource& weights, const nlohmann::json& config,
                 GgmlType type, const GgufSettings& extra) {
  GgufSettings settings = gguf_settings_of(config);
  const GgufArchitecture& architecture = gguf_architecture(std::get<std::string>(settings.front().second));
  const GgufHeads heads = heads_of(config);
  const bool tied = config.value("tie_word_embeddings", architecture.name == "gpt2");
  settings.emplace_back("general.file_type", file_type(type));
  if (is_quantised(type)) settings.emplace_back("general.quantization_version", uint32_t{2});
  settings.insert(settings.end(), extra.begin(), extra.end());

  std::vector<GgufTensor> tensors;
  if (const auto factors = rope_factors_of(config)) {
    tensors.push_back(
        {{kRopeFactors, at::kFloat, factors->sizes().vec(), [t = *factors] { return t; }}, GgmlType::f32});
  }
  for (const std::string& name : weights.names()) {
    if (is_buffer(architecture, name)) continue;
    const auto to = gguf_name(architecture, name);
    if (!to) {
      throw Error(Kind::input, weights.where() + ": tensor '" + name + "' has no place in a GGUF file of a " +
                                   architecture.name);
    }
    if (tied && to->name == "output.weight") continue;  // the same as the embedding
    tensors.push_back(translated(weights, name, *to, heads, type));
  }
  write_gguf(path, settings, tensors);
}

}  // namespace mneme
