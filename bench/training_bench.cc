// A training step of a 97M Llama shape (12 layers, width 768, 12 heads, inner width 2048, vocabulary 8192,
// untied head) on texts of 512 tokens, 4 at once: bf16 products with fp32 masters, AdamW, clipping. Tokens a
// second, the share of the GEMM's own rate, and where the time goes. "matmuls" and the other parts are the
// same shapes run alone, forwards and backwards; the rest is what the step takes beyond them.
//
//   training_bench [threads] [steps] [fp32]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/progress.h"
#include "memory/read.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/cross_entropy.h"
#include "ops/norm.h"
#include "tensor/threads.h"
#include "train/backward.h"
#include "train/estimate.h"
#include "train/optimizer.h"
#include "train/trainable.h"

namespace mneme {
namespace {

constexpr int64_t kRows = 4, kLength = 512, kVocab = 8192, kWidth = 768, kHeads = 12, kInner = 2048,
                  kLayers = 12;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The least seconds of some runs.
double least(int runs, const std::function<void()>& f) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const double start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best;
}

nlohmann::json config() {
  return {{"model_type", "llama"},         {"vocab_size", kVocab},
          {"hidden_size", kWidth},         {"intermediate_size", kInner},
          {"num_hidden_layers", kLayers},  {"num_attention_heads", kHeads},
          {"num_key_value_heads", kHeads}, {"max_position_embeddings", 2048},
          {"tie_word_embeddings", false}};
}

Tensor leaf(at::IntArrayRef sizes, at::ScalarType type) {
  return at::randn(sizes, at::kFloat).to(type).set_requires_grad(true);
}

// Forwards, and backwards from a gradient of ones.
double both_ways(int runs, const std::function<Tensor()>& f) {
  return least(runs, [&] {
    const Tensor y = f();
    y.backward(at::ones_like(y));
  });
}

double time_matmuls(int runs, at::ScalarType type) {
  const Tensor x = leaf({kRows * kLength, kWidth}, type), wide = leaf({kRows * kLength, kInner}, type);
  const auto product = [&](const Tensor& in, int64_t out) {
    Weight w(at::randn({out, in.size(1)}) * 0.02);
    w.set_requires_grad(true);
    return both_ways(runs, [&] { return linear(in, w); });
  };
  return kLayers * (4 * product(x, kWidth) + 2 * product(x, kInner) + product(wide, kWidth));
}

double time_attention(int runs, at::ScalarType type) {
  const int64_t head = kWidth / kHeads;
  const Tensor q = leaf({kRows, kLength, kHeads, head}, type), k = leaf({kRows, kLength, kHeads, head}, type),
               v = leaf({kRows, kLength, kHeads, head}, type);
  Keys keys;
  keys.k = k;
  keys.v = v;
  return kLayers * both_ways(runs, [&] { return attention(q, {keys}); });
}

double time_elementwise(int runs, at::ScalarType type) {
  const Tensor x = leaf({kRows, kLength, kWidth}, type), y = leaf({kRows, kLength, kWidth}, type);
  const Tensor gate = leaf({kRows, kLength, kInner}, type), up = leaf({kRows, kLength, kInner}, type);
  const Tensor weight = leaf({kWidth}, at::kFloat);
  const double norms = both_ways(runs, [&] { return std::get<1>(add_rms_norm(x, y, weight, 1e-6)); });
  const double gated = both_ways(runs, [&] { return swiglu(gate, up); });
  return kLayers * (2 * norms + gated);
}

double time_head(int runs, at::ScalarType type) {
  const Tensor hidden = leaf({kRows * kLength, kWidth}, type);
  Weight head(at::randn({kVocab, kWidth}) * 0.02);
  head.set_requires_grad(true);
  const Tensor targets = at::randint(kVocab, {kRows * kLength}, at::kLong);
  return least(runs, [&] { head_cross_entropy(hidden, head, {}, targets).loss.mean().backward(); });
}

double gemm_rate(at::ScalarType type) {
  const at::NoGradGuard no_grad;
  Weight w((at::randn({kInner, kWidth}) * 0.02).to(type));
  const Tensor x = at::randn({kRows * kLength, kWidth}).to(type);
  return 2.0 * kRows * kLength * kWidth * kInner / least(20, [&] { linear(x, w); });
}

int run(int argc, char** argv) {
  const int threads = set_threads(argc > 1 ? std::atoi(argv[1]) : 0),
            steps = argc > 2 ? std::atoi(argv[2]) : 6;
  const at::ScalarType type = argc > 3 && std::string(argv[3]) == "fp32" ? at::kFloat : at::kBFloat16;
  Model model;
  model.decoder = std::make_unique<Decoder>(parse_model_config(config()));
  model.decoder->initialise(1);
  model.memory = make_memory(*model.decoder, {});
  const std::vector<Parameter> trained = prepare_training(model, {}, at::kCPU, type, 1);
  OptimizerOptions options;
  Optimizer optimizer(trained, options);
  TrainOptions training;
  const Draws draws{{.seed = 1}, {}, {}};
  double data = 1e9, passes = 1e9, update = 1e9, whole = 1e9;
  for (int i = 0; i < steps; ++i) {
    const double start = now();
    const Tensor text = at::randint(kVocab, {kRows, kLength + 1}, at::kLong);
    const Sample sample{text.narrow(1, 0, kLength).contiguous(), text.narrow(1, 1, kLength).contiguous()};
    const double ready = now();
    optimizer.zero_gradients();
    backward(model, sample, kLength, labelled_positions(sample), training, &draws);
    const double found = now();
    optimizer.step(1);
    const double end = now();
    data = std::min(data, ready - start);
    passes = std::min(passes, found - ready);
    update = std::min(update, end - found);
    whole = std::min(whole, end - start);
  }
  const double tokens = kRows * kLength, flops = tokens * training_flops(model, trained, kLength);
  const double rate = gemm_rate(type), matmuls = time_matmuls(3, type), mixing = time_attention(3, type),
               elements = time_elementwise(3, type), head = time_head(3, type);
  fmt::print("{} threads, {}, {:.1f}M parameters, peak memory {:.2f} GB\n", threads, dtype_name(type),
             1e-6 * static_cast<double>(parameter_count(model.decoder->config())),
             1e-9 * static_cast<double>(peak_resident_bytes()));
  fmt::print("{:.0f} tokens/s, {:.3f} s a step, {:.2f} TFLOP/s, {:.0f}% of the GEMM's {:.2f} TFLOP/s\n",
             tokens / whole, whole, 1e-12 * flops / whole, 100 * flops / whole / rate, 1e-12 * rate);
  const auto line = [&](const char* name, double seconds) {
    fmt::print("  {:<22}{:7.3f} s  {:4.0f}%\n", name, seconds, 100 * seconds / whole);
  };
  line("matmuls", matmuls);
  line("attention", mixing);
  line("norms, gates", elements);
  line("head and loss", head);
  line("rest of the passes", passes - matmuls - mixing - elements - head);
  line("optimizer", update);
  line("data", data);
  return 0;
}

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) { return mneme::run(argc, argv); }
