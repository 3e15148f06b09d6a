#include "train/estimate.h"

#include "model/lora.h"

namespace mneme {

double training_flops(const Model& model, int64_t segment) {
  const ModelConfig& c = model.decoder->config();
  double flops = 0;
  const auto matrix = [&](const Parameter& p) {
    double n = 1;
    for (const int64_t s : p.shape) n *= static_cast<double>(s);
    const bool trained = p.defined() && p.value().requires_grad();
    flops += (trained ? 6 : 4) * n;
  };
  for (const Parameter& p : model.decoder->parameters()) {
    if (p.matrix || (c.tied_head && p.name == "embedding")) matrix(p);
  }
  for (const Parameter& p : lora_parameters(*model.decoder)) matrix(p);
  // Scores and mixing, 2 products each, half of them causal; backwards twice that.
  const double seen = static_cast<double>(segment) / 2;
  flops += 3 * 4 * seen * static_cast<double>(c.layers * c.heads * c.head_width);
  return flops;
}

}  // namespace mneme
