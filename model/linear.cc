#include "model/linear.h"

#include "ops/dropout.h"

namespace mneme {

constexpr int64_t kSitesPerLayer = 8;  // linear layers of a decoder layer that may draw

Tensor Linear::operator()(const Tensor& x, const Draws* draws, int64_t layer, int64_t site) const {
  Tensor y = linear(x, weight, bias);
  if (!lora) return y;
  Tensor dropped = x;
  if (draws && lora->dropout > 0) {
    Site where = draws->site;
    where.layer = static_cast<uint16_t>(layer * kSitesPerLayer + site);
    where.draw = Draw::dropout_lora;
    dropped = dropout(x, lora->dropout, where);
  }
  const Tensor down = at::linear(dropped, lora->a.to(x.scalar_type()));
  return y + at::linear(down, lora->b.to(x.scalar_type())) * lora->scale;
}

}  // namespace mneme
