#include "train/measure.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

#include "ops/linear.h"
#include "train/backward.h"
#include "train/estimate.h"
#include "train/optimizer.h"
#include "train/trainable.h"

namespace mneme {
namespace {

constexpr int64_t kMostParameters = 24'000'000;
constexpr double kPassSeconds = 0.3;  // of a pass, were it as fast as the products

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Half as wide; false where it cannot be.
bool halve(ModelConfig& c) {
  if (c.heads % 2 != 0 || c.kv_heads % 2 != 0 || c.width % 2 != 0 || c.embed_width % 2 != 0) return false;
  c.heads /= 2;
  c.kv_heads /= 2;
  c.width /= 2;
  c.embed_width /= 2;
  c.inner = std::max<int64_t>(1, c.inner / 2);
  return true;
}

}  // namespace

double gemm_rate(at::ScalarType type) {
  const at::NoGradGuard no_grad;
  Weight w(at::ones({1024, 1024}, type));
  const Tensor x = at::ones({512, 1024}, type);
  double best = 1e9;
  for (int i = 0; i < 12; ++i) best = std::min(best, seconds_of([&] { linear(x, w); }));
  return 2.0 * 512 * 1024 * 1024 / best;
}

ModelConfig part_of_model(const ModelConfig& shape, int64_t most_parameters) {
  ModelConfig c = shape;
  c.layers = std::min<int64_t>(shape.layers, 2);
  // The head's share of the arithmetic stays about what it is.
  c.vocab = std::min(shape.vocab, std::max<int64_t>(64, shape.vocab * c.layers / shape.layers));
  for (int64_t* token : {&c.bos, &c.pad}) *token = std::min(*token, c.vocab - 1);
  while (parameter_count(c) > most_parameters) {
    if (c.layers > 1) {
      c.layers = 1;
    } else if (!halve(c)) {
      break;
    }
  }
  return c;
}

TrainingRates measure_training(const ModelConfig& shape, const TrainOptions& options, int64_t segment,
                               at::ScalarType activations) {
  TrainingRates out;
  out.gemm = gemm_rate(activations);
  Model model;
  model.decoder = std::make_unique<Decoder>(part_of_model(shape, kMostParameters));
  const ModelConfig& c = model.decoder->config();
  model.decoder->initialise(1);
  model.decoder->recompute = options.recompute;
  model.memory = make_memory(*model.decoder, {});
  const std::vector<Parameter> trained = prepare_training(model, {}, at::kCPU, activations, 1);
  Optimizer optimizer(trained, options.optimizer.kind == "adamw" ? OptimizerOptions{} : options.optimizer);
  int64_t parameters = 0;
  for (const Parameter& p : trained) parameters += p.value().numel();
  // As many texts as an update reads at once, as long as a segment, within the time there is.
  const double most = kPassSeconds * out.gemm / training_flops(model, trained, segment);
  const int64_t length = std::clamp<int64_t>(static_cast<int64_t>(most), 1, segment);
  const int64_t batch =
      options.micro_batch > 0 ? std::min(options.micro_batch, options.batch) : options.batch;
  const int64_t rows =
      std::clamp<int64_t>(static_cast<int64_t>(most / static_cast<double>(length)), 1, batch);
  const Tensor text = at::randint(c.vocab, {rows, length + 1}, at::kLong);
  const Sample sample{text.narrow(1, 0, length).contiguous(), text.narrow(1, 1, length).contiguous()};
  const TrainOptions plain;
  const auto pass = [&] { backward(model, sample, length, rows * length, plain, nullptr); };
  pass();
  double passes = 1e9, updates = 1e9;
  // At least twice, and small models until it has taken a while.
  double spent = 0;
  for (int round = 0; round < 2 || spent < 2 * kPassSeconds; ++round) {
    const double step = seconds_of([&] { optimizer.step(0); });
    optimizer.zero_gradients();
    const double first = seconds_of(pass);  // packs the new weights
    const double again = seconds_of(pass);
    passes = std::min(passes, again);
    spent += again;
    updates = std::min(updates, step + std::max(0.0, first - passes));
  }
  out.passes = static_cast<double>(rows * length) * training_flops(model, trained, length) / passes;
  out.update = static_cast<double>(parameters) / updates;
  out.layers = c.layers;
  out.width = c.width;
  out.tokens = rows * length;
  return out;
}

}  // namespace mneme
