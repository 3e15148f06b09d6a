#include "convert/verify.h"

#include <algorithm>

#include "base/random.h"
#include "memory/read.h"

namespace mneme {

Tensor probe_logits(const Model& model, int64_t tokens) {
  const at::NoGradGuard no_grad;
  const ModelConfig& c = model.decoder->config();
  Batch batch;
  batch.ids = at::empty({1, tokens}, at::kLong);
  Random random(Site{.seed = 7});
  int64_t* ids = batch.ids.data_ptr<int64_t>();
  for (int64_t t = 0; t < tokens; ++t) ids[t] = random.between(0, c.vocab - 1);
  if (!model.memory->parameters().empty() && tokens >= 3) batch.ends = {{tokens / 3, 2 * (tokens / 3)}};
  State state = model.initial(1);
  return model.decoder->logits(read(model, batch, state).hidden)[0].to(at::kDouble);
}

LogitComparison compare_logits(const Tensor& before, const Tensor& after) {
  LogitComparison out;
  out.tokens = before.size(0);
  const int64_t shared = std::min(before.size(1), after.size(1));  // a merged adapter may have added tokens
  const Tensor a = before.narrow(1, 0, shared), b = after.narrow(1, 0, shared);
  const double scale = a.square().mean().sqrt().item<double>();
  const double worst = (a - b).abs().max().item<double>();
  out.error = worst == 0 ? 0 : worst / std::max(scale, 1e-30);
  out.agreement = a.argmax(1).eq(b.argmax(1)).to(at::kDouble).mean().item<double>();
  return out;
}

double allowed_error(const std::string& store, bool arithmetic) {
  const double exact = arithmetic ? 1e-4 : 0;
  if (store == "q8_0") return 0.2;
  if (store == "bf16") return 0.1;
  if (store == "fp16") return 0.01;
  return exact;
}

}  // namespace mneme
