#include "train/estimate.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "model/lora.h"
#include "train/backward.h"

namespace mneme {
namespace {

double elements(const Parameter& p) {
  double n = 1;
  for (const int64_t s : p.shape) n *= static_cast<double>(s);
  return n;
}

std::set<std::string> names_of(const std::vector<Parameter>& parameters) {
  std::set<std::string> out;
  for (const Parameter& p : parameters) out.insert(p.name);
  return out;
}

// Slots of a segment over its text tokens.
double stretch(const Model& model, int64_t segment) {
  return 1 + static_cast<double>(model.memory->extra_slots(segment)) / static_cast<double>(segment);
}

// What one slot keeps in one layer for the backward pass.
double kept_elements(const ModelConfig& c, bool recompute) {
  const auto width = static_cast<double>(c.width), inner = static_cast<double>(c.inner);
  const auto attention =
      static_cast<double>(2 * (c.heads + c.kv_heads) * c.head_width);  // q, k, v and result
  if (recompute) return 3 * width + attention;
  return 4 * width + attention + (c.mlp == MlpKind::swiglu ? 3 : 2) * inner;
}

}  // namespace

double training_flops(const Model& model, const std::vector<Parameter>& trained, int64_t segment) {
  const ModelConfig& c = model.decoder->config();
  const std::set<std::string> names = names_of(trained);
  double flops = 0;
  const auto add = [&](const Parameter& p) { flops += (names.count(p.name) ? 6 : 4) * elements(p); };
  for (const Parameter& p : model.decoder->parameters()) {
    if (p.matrix || (c.tied_head && p.name == "embedding")) add(p);
  }
  for (const Parameter& p : lora_parameters(*model.decoder)) add(p);
  // Scores and mixing, 2 products each, half of them causal; backwards twice that.
  const double slots = stretch(model, segment), seen = slots * static_cast<double>(segment) / 2;
  flops += 3 * 4 * seen * static_cast<double>(c.layers * c.heads * c.head_width);
  return flops * slots;
}

Model shape_of_model(const nlohmann::json& config, const MemoryOptions& memory, const LoraOptions& lora) {
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(config));
  for (const Parameter& p : m.decoder->parameters()) p.set(at::empty(p.shape, at::device(at::kMeta)));
  m.options = memory;
  m.memory = make_memory(*m.decoder, memory);
  attach_lora(*m.decoder, lora, 0);
  return m;
}

TrainingEstimate estimate_training(const Model& shape, const TrainOptions& o, int64_t text_segment,
                                   at::ScalarType activations) {
  const ModelConfig& c = shape.decoder->config();
  const std::vector<Parameter> trained = trained_parameters(shape, o.trainable);
  const std::set<std::string> names = names_of(trained);
  const auto narrow = static_cast<double>(at::elementSize(activations));
  TrainingEstimate e;
  for (const Parameter& p : all_parameters(shape)) {
    const double n = elements(p);
    const bool train = names.count(p.name) > 0;
    e.parameters += static_cast<int64_t>(n);
    e.trained += train ? static_cast<int64_t>(n) : 0;
    e.weights += n * (train ? 4 : narrow);
    // One copy for the product, one for its derivative.
    if (activations == at::kBFloat16 && (p.matrix || (c.tied_head && p.name == "embedding")))
      e.packed += 4 * n;
  }
  e.gradients = 4 * static_cast<double>(e.trained);
  const bool adam = o.optimizer.kind == "adamw";
  e.optimizer = (adam ? 8 : o.optimizer.momentum > 0 ? 4 : 0) * static_cast<double>(e.trained);
  const auto levels = static_cast<double>(o.segments.size());
  for (const int64_t n : o.segments) {
    e.longest_text = std::max(e.longest_text, n * text_segment);
    e.tokens += static_cast<double>(o.steps * o.batch * n * text_segment) / levels;
  }
  e.segment = training_segment(shape, e.longest_text);
  e.flops = e.tokens * training_flops(shape, trained, e.segment);
  const int64_t rows = o.micro_batch > 0 ? std::min(o.micro_batch, o.batch) : o.batch;
  // Truncation frees the graph of earlier segments only when the backward pass is over, so it does not count.
  const int64_t text = o.backward == "replay" ? e.segment : e.longest_text;
  e.activations =
      narrow * static_cast<double>(rows * text) * stretch(shape, e.segment) *
      (static_cast<double>(c.layers) * kept_elements(c, o.recompute) + 3 * static_cast<double>(c.width));
  return e;
}

}  // namespace mneme
