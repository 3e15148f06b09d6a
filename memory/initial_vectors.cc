#include "memory/initial_vectors.h"

#include "base/random.h"

namespace mneme {

Tensor initial_vectors(const Decoder& decoder, int64_t count, uint64_t seed, uint32_t index) {
  Tensor out = at::empty({count, decoder.config().embed_width}, at::kFloat);
  const double deviation = decoder.embedding.detach().to(at::kDouble).std().item<double>();
  Site where;
  where.seed = seed;
  where.row = index;
  where.layer = 0xffff;  // no layer of a decoder
  where.draw = Draw::init;
  fill_normal(where, out.data_ptr<float>(), static_cast<size_t>(out.numel()), 0,
              static_cast<float>(deviation));
  return out;
}

}  // namespace mneme
