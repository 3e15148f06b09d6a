#include "io/weight_diff.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "io/hf_folder.h"
#include "io/testing.h"

namespace mneme {
namespace {

std::string folder_of(const std::string& name, const NamedTensors& tensors) {
  const std::string path = join_path(::testing::TempDir(), "weight-diff-" + name);
  std::filesystem::remove_all(path);
  make_folders(path);
  write_file(join_path(path, "config.json"), R"({"model_type": "llama"})");
  write_safetensors(join_path(path, "model.safetensors"), tensors);
  return path;
}

class WeightDiff : public ::testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(3);
    embedding_ = at::randn({6, 4});
    tuned_embedding_ = at::randn({8, 4});
    frequencies_ = at::tensor({1.0, 0.01}, at::kFloat);
    raw_ =
        folder_of("raw", {{"model.embed_tokens.weight", embedding_}, {"model.norm.weight", at::ones({4})}});
    tuned_ = folder_of("tuned", {{"model.embed_tokens.weight", tuned_embedding_},
                                 {"model.norm.weight", at::full({4}, 1.5)},
                                 {"model.layers.0.self_attn.rotary_emb.inv_freq", frequencies_}});
    diff_ = join_path(::testing::TempDir(), "weight-diff-diff");
    out_ = join_path(::testing::TempDir(), "weight-diff-out");
    std::filesystem::remove_all(diff_);
    std::filesystem::remove_all(out_);
  }
  Tensor embedding_, tuned_embedding_, frequencies_;
  std::string raw_, tuned_, diff_, out_;
};

TEST_F(WeightDiff, ComesBack) {
  make_weight_difference(raw_, tuned_, diff_);
  const WeightSource diff = WeightSource::open(diff_);
  EXPECT_TRUE(diff.tensor("model.norm.weight").equal(at::full({4}, 0.5)));
  // New rows count from the mean; frequencies that the raw model lacks are known.
  EXPECT_TRUE(at::allclose(diff.tensor("model.embed_tokens.weight")[7],
                           tuned_embedding_[7] - embedding_.mean(0), 0, 1e-6));
  EXPECT_LT(diff.tensor("model.layers.0.self_attn.rotary_emb.inv_freq").abs().max().item<float>(), 1e-7);
  recover_weights(raw_, diff_, out_);
  const WeightSource back = WeightSource::open(out_);
  EXPECT_TRUE(at::allclose(back.tensor("model.embed_tokens.weight"), tuned_embedding_, 0, 1e-6));
  EXPECT_TRUE(at::allclose(back.tensor("model.layers.0.self_attn.rotary_emb.inv_freq"), frequencies_));
  EXPECT_NEAR(weight_sum(back), weight_sum(WeightSource::open(tuned_)), 1e-5);
}

TEST_F(WeightDiff, AnotherRawModelIsRefusedAndNothingRemains) {
  make_weight_difference(raw_, tuned_, diff_);
  const std::string other = folder_of(
      "other", {{"model.embed_tokens.weight", embedding_ + 1}, {"model.norm.weight", at::ones({4})}});
  EXPECT_THROW(recover_weights(other, diff_, out_), Error);
  EXPECT_FALSE(is_folder(out_));
  recover_weights(other, diff_, out_, false);
  EXPECT_TRUE(is_folder(out_));
}

TEST_F(WeightDiff, WhatDoesNotFitIsNamed) {
  const std::string small =
      folder_of("small", {{"model.embed_tokens.weight", embedding_}, {"model.norm.weight", at::ones({3})}});
  EXPECT_THROW(make_weight_difference(small, tuned_, diff_), Error);
  const std::string less = folder_of("less", {{"model.embed_tokens.weight", embedding_}});
  EXPECT_THROW(make_weight_difference(less, tuned_, diff_), Error);
  make_weight_difference(raw_, tuned_, diff_);
  write_file(join_path(diff_, "checksum_psum.txt"), "many");
  EXPECT_THROW(recover_weights(raw_, diff_, out_), Error);
}

}  // namespace
}  // namespace mneme
