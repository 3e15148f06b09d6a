#include "train/estimate.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/progress.h"
#include "train/measure.h"

namespace mneme {
namespace {

nlohmann::json llama(int64_t width, int64_t layers) {
  return {{"model_type", "llama"},       {"vocab_size", 32000},
          {"hidden_size", width},        {"intermediate_size", 11008},
          {"num_hidden_layers", layers}, {"num_attention_heads", 32},
          {"num_key_value_heads", 32},   {"max_position_embeddings", 4096},
          {"tie_word_embeddings", false}};
}

TEST(Estimate, CountsLlama2WithoutAllocatingIt) {
  const uint64_t before = resident_bytes();
  const Model shape = shape_of_model(llama(4096, 32), {}, {});
  const TrainingEstimate e = estimate_training(shape, {}, 256, at::kBFloat16);
  EXPECT_EQ(e.parameters, 6738415616);  // what the published checkpoint has
  EXPECT_EQ(e.trained, e.parameters);
  EXPECT_EQ(e.optimizer, 8.0 * 6738415616);
  EXPECT_LT(resident_bytes(), before + (uint64_t{1} << 28));
  // 6 operations a matrix element and token, and a little attention.
  const double per_token = e.flops / e.tokens, matrices = 6.0 * (6738415616 - 32000.0 * 4096);
  EXPECT_GT(per_token, matrices);
  EXPECT_LT(per_token, 1.1 * matrices);
}

TEST(Estimate, LoraTrainsLittle) {
  LoraOptions lora;
  lora.rank = 8;
  lora.targets = {"q_proj", "v_proj"};
  TrainOptions o;
  o.trainable.lora = lora;
  MemoryOptions memory;
  memory.method = "rmt";
  memory.rmt.memory_tokens = 16;
  const Model shape = shape_of_model(llama(4096, 32), memory, lora);
  const TrainingEstimate e = estimate_training(shape, o, 480, at::kBFloat16);
  EXPECT_EQ(e.trained, 32 * 2 * 8 * (4096 + 4096) + 16 * 4096);
  EXPECT_EQ(e.gradients, 4.0 * static_cast<double>(e.trained));
}

TEST(Estimate, TokensFollowTheCurriculum) {
  TrainOptions o;
  o.steps = 90;
  o.batch = 4;
  o.segments = {1, 2, 3};
  const Model shape = shape_of_model(llama(64, 1), {}, {});
  const TrainingEstimate e = estimate_training(shape, o, 10, at::kFloat);
  EXPECT_EQ(e.tokens, 30 * 4 * 10 * (1 + 2 + 3));
  EXPECT_EQ(e.longest_text, 30);
  EXPECT_EQ(e.packed, 0);
}

TEST(Estimate, ReplayAndRecomputationKeepLess) {
  MemoryOptions memory;
  memory.method = "rmt";
  memory.rmt.segment = 64;
  const Model shape = shape_of_model(llama(256, 4), memory, {});
  TrainOptions plain, replay, recompute;
  plain.segments = replay.segments = recompute.segments = {8};
  replay.backward = "replay";
  recompute.recompute = true;
  const auto kept = [&](const TrainOptions& o) {
    return estimate_training(shape, o, 64, at::kBFloat16).activations;
  };
  EXPECT_DOUBLE_EQ(kept(replay) * 8, kept(plain));
  EXPECT_LT(kept(recompute), 0.5 * kept(plain));
}

// A shape that would never fit here is measured by a part of it.
TEST(Estimate, MeasuresAPartOfALargeModel) {
  const uint64_t before = resident_bytes();
  ModelConfig shape = parse_model_config(llama(8192, 80));
  const ModelConfig part = part_of_model(shape, 1'000'000);
  EXPECT_LE(parameter_count(part), 1'000'000);
  EXPECT_EQ(part.layers, 1);
  EXPECT_EQ(part.head_width, shape.head_width);
  TrainOptions options;
  options.batch = 1;
  const TrainingRates rates = measure_training(shape, options, 32, at::kBFloat16);
  EXPECT_GT(rates.passes, 0);
  EXPECT_LT(rates.passes, 1.5 * rates.gemm);
  EXPECT_GT(rates.update, 0);
  EXPECT_LE(rates.tokens, 32);
  EXPECT_LT(resident_bytes(), before + (uint64_t{1} << 31));
}

TEST(Estimate, MeasuresASmallModelWhole) {
  nlohmann::json config = llama(64, 2);
  config["vocab_size"] = 512;
  config["intermediate_size"] = 128;
  TrainOptions options;
  options.batch = 4;
  const TrainingRates rates = measure_training(parse_model_config(config), options, 32, at::kFloat);
  EXPECT_EQ(rates.layers, 2);
  EXPECT_EQ(rates.width, 64);
  EXPECT_EQ(rates.tokens, 128);
}

}  // namespace
}  // namespace mneme
