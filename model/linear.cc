#include "model/linear.h"

#include "ops/dropout.h"

namespace mneme {

constexpr int64_t kSitesPerLayer = 8;  // linear layers of a decoder layer that may draw

std::vector<Site> Draws::sites(int64_t batch, int64_t width, Draw what, int64_t layer) const {
  std::vector<Site> out = rows;
  for (int64_t b = 0; rows.empty() && b < batch; ++b) {
    out.push_back(site);
    out.back().row += static_cast<uint64_t>(b);
  }
  for (Site& s : out) {
    s.draw = what;
    s.layer = static_cast<uint16_t>(layer);
    s.position *= static_cast<uint64_t>(width);
  }
  return out;
}

Tensor Linear::operator()(const Tensor& x, const Draws* draws, int64_t layer, int64_t site) const {
  Tensor y = linear(x, weight, bias);
  if (!lora) return y;
  Tensor dropped = x;
  if (draws && lora->dropout > 0) {
    dropped = dropout(x, lora->dropout,
                      draws->sites(x.size(0), x.size(-1), Draw::dropout_lora, layer * kSitesPerLayer + site));
  }
  const Tensor down = linear(dropped, Weight(lora->a.to(x.scalar_type())));
  return y + linear(down, Weight(lora->b.to(x.scalar_type()))) * lora->scale;
}

}  // namespace mneme
