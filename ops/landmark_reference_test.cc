#include "ops/landmark_reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "ops/gradcheck.h"

namespace mneme {
namespace {

struct Sum {  // an online softmax of one row: running maximum, sum, weighted values
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  Tensor value;
  void add(double score, double factor, const Tensor& v) {
    const double top = std::max(max, score);
    if (!std::isfinite(top)) return;
    value = (value.defined() ? value * std::exp(max - top) : at::zeros_like(v)) +
            v * (factor * std::exp(score - top));
    sum = sum * std::exp(max - top) + std::exp(score - top);
    max = top;
  }
  Tensor mean() const { return value / sum; }
};

// The streaming form of the definition, one row and head at a time: keys from left to right, one accumulator
// for the block being read and one for the outer softmax.
Tensor stream_row(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& island, const Tensor& keep,
                  int64_t end, double scale) {
  const int64_t last = end - 1;
  Sum outer, inner;
  for (int64_t j = 0; j < end; ++j) {
    if (island[j].item<bool>()) {
      const bool own = j == last;
      if (!own && keep[j].item<bool>()) {
        outer.add((q * k[j]).sum().item<double>() * scale, 1,
                  inner.sum > 0 ? inner.mean() : at::zeros_like(q));
      }
      if (!own) inner = {};
    } else if (keep[j].item<bool>()) {
      inner.add((q * k[j]).sum().item<double>() * scale, 1, v[j]);
    }
  }
  if (inner.sum > 0) {
    const double log_sum = inner.max + std::log(inner.sum);
    outer.add(log_sum, 1, inner.mean());
  }
  return outer.sum > 0 ? outer.mean() : at::zeros_like(q);
}

LandmarkKeys random_keys(int64_t B, int64_t S, int64_t G, int64_t K, const std::vector<int64_t>& landmarks) {
  const auto type = at::TensorOptions(at::kDouble);
  LandmarkKeys keys{
      at::randn({B, S, G, K}, type), at::randn({B, S, G, K}, type), at::zeros({B, S}, at::kBool), {}};
  for (const int64_t at : landmarks) keys.is_landmark[at / S][at % S] = true;
  return keys;
}

TEST(LandmarkReference, AgreesWithTheStreamingForm) {
  at::manual_seed(1);
  const int64_t B = 2, T = 17, S = 23, H = 4, G = 2, K = 6;
  // Row 0: a landmark first, two adjacent ones, one last. Row 1: prefix blocks, an open end, some padding.
  LandmarkKeys keys = random_keys(B, S, G, K, {0, 7, 8, 15, 22, 23 + 4, 23 + 10});
  keys.mask = at::ones({B, S}, at::kBool);
  for (const int64_t pad : {5, 6, 12, 13}) keys.mask[1][pad] = false;
  const Tensor q = at::randn({B, T, H, K}, at::kDouble);
  const Tensor out = landmark_attention_reference(q, keys);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t end = S - T + t + 1;
      if (!keys.mask[b][end - 1].item<bool>()) continue;  // what a padding query gives is nobody's business
      for (int64_t h = 0; h < H; ++h) {
        const int64_t g = h / (H / G);
        const Tensor expected = stream_row(q[b][t][h], keys.k[b].select(1, g), keys.v[b].select(1, g),
                                           keys.is_landmark[b], keys.mask[b], end, 1 / std::sqrt(double(K)));
        ASSERT_TRUE(at::allclose(out[b][t][h], expected, 1e-10, 1e-12)) << b << " " << t << " " << h;
      }
    }
  }
}

TEST(LandmarkReference, RowsSumToOneExceptForEmptyBlocksAndBlindRows) {
  at::manual_seed(2);
  const LandmarkKeys keys = random_keys(1, 12, 1, 4, {0, 5, 6});
  const Tensor q = at::randn({1, 12, 1, 4}, at::kDouble);
  Tensor lse;
  const Tensor sums = landmark_weights_reference(q, keys, {}, &lse).sum(-1)[0][0];
  EXPECT_EQ(sums[0].item<double>(), 0);  // sees only its own landmark
  EXPECT_EQ(lse[0][0][0].item<double>(), -std::numeric_limits<double>::infinity());
  for (int64_t t = 1; t < 12; ++t)
    EXPECT_LT(sums[t].item<double>(), 1 - 1e-6) << t;  // what the landmark at 0 wins
  const LandmarkKeys full = random_keys(1, 12, 1, 4, {4, 9});
  EXPECT_TRUE(at::allclose(landmark_weights_reference(q, full).sum(-1), at::ones({1, 1, 12}, at::kDouble)));
}

TEST(LandmarkReference, NeverReadsLandmarkValuesNorTheFuture) {
  at::manual_seed(3);
  const LandmarkKeys keys = random_keys(1, 14, 1, 4, {4, 9});
  const Tensor q = at::randn({1, 14, 1, 4}, at::kDouble);
  const Tensor w = landmark_weights_reference(q, keys)[0][0];
  EXPECT_EQ(w.index_select(1, at::tensor({4, 9})).abs().max().item<double>(), 0);
  EXPECT_EQ(w.triu(1).abs().max().item<double>(), 0);
}

TEST(LandmarkReference, IgnoresAPaddedBlockUnlessParityIsAsked) {
  at::manual_seed(4);
  LandmarkKeys keys = random_keys(1, 10, 1, 4, {3, 7});
  keys.mask = at::ones({1, 10}, at::kBool);
  keys.mask.slice(1, 0, 3) = false;
  const Tensor q = at::randn({1, 10, 1, 4}, at::kDouble);
  const Tensor w = landmark_weights_reference(q, keys)[0][0][9];
  EXPECT_EQ(w.slice(0, 0, 3).abs().max().item<double>(), 0);
  EXPECT_NEAR(w.sum().item<double>(), 1, 1e-12);
  LandmarkOptions parity;
  parity.parity_padded_blocks = true;
  const Tensor leak = landmark_weights_reference(q, keys, parity)[0][0][9];
  EXPECT_GT(leak[0].item<double>(), 1e-6);
  EXPECT_EQ(leak[0].item<double>(), leak[2].item<double>());
  EXPECT_NEAR(leak.sum().item<double>(), 1, 1e-12);
}

TEST(LandmarkReference, OtherSoftmaxesAreOrdinaryAttention) {
  at::manual_seed(5);
  const LandmarkKeys keys = random_keys(1, 9, 1, 4, {0, 4});
  const Tensor q = at::randn({1, 9, 1, 4}, at::kDouble);
  LandmarkOptions options;
  options.softmax = LandmarkSoftmax::without_landmark;
  Tensor scores = q.select(2, 0)[0].matmul(keys.k.select(2, 0)[0].t()) / 2;
  scores = scores.masked_fill(at::ones({9, 9}, at::kBool).triu(1), -1e30);
  Tensor hidden = scores.masked_fill(keys.is_landmark, -1e30);
  const Tensor without = landmark_weights_reference(q, keys, options)[0][0];
  EXPECT_TRUE(at::allclose(without.slice(0, 1), hidden.softmax(1).slice(0, 1)));
  EXPECT_EQ(without[0].abs().max().item<double>(), 0);
  options.softmax = LandmarkSoftmax::plain;
  for (const int64_t own : {0, 4}) scores[own][own] = -1e30;
  const Tensor plain = landmark_weights_reference(q, keys, options)[0][0];
  EXPECT_TRUE(at::allclose(plain.slice(0, 1), scores.softmax(1).slice(0, 1)));
}

TEST(LandmarkReference, GradientsAreThoseOfFiniteDifferences) {
  at::manual_seed(6);
  const int64_t B = 2, T = 9, S = 13, H = 4, G = 2, K = 3;
  LandmarkKeys keys = random_keys(B, S, G, K, {0, 4, 5, 9, 13 + 3, 13 + 8, 13 + 10});
  keys.mask = at::ones({B, S}, at::kBool);
  keys.mask[1].slice(0, 0, 3) = false;
  keys.mask[1][6] = false;
  LandmarkOptions dropout, miss;
  dropout.gate_keep = at::rand({B, H, T, 5}) > 0.4;
  dropout.group_dropout = 0.4;
  miss.controlled = at::rand({B, S}) > 0.4;
  for (const LandmarkOptions& base : {LandmarkOptions{}, dropout, miss}) {
    auto f = [&](const Tensors& in) {
      LandmarkOptions options = base;
      if (options.controlled.defined()) options.miss_key = in[3];
      LandmarkKeys given{in[1], in[2], keys.is_landmark, keys.mask};
      return Tensors{landmark_attention_reference(in[0], given, options)};
    };
    const Tensor q = at::randn({B, T, H, K}, at::kDouble), r = at::randn({B, G, K}, at::kDouble);
    GradcheckOptions some;
    some.samples = 24;
    EXPECT_TRUE(gradients_match(f, {q, keys.k, keys.v, r}, some));
  }
}

TEST(LandmarkReference, RefusesWhatDoesNotFit) {
  const LandmarkKeys keys = random_keys(1, 9, 2, 4, {4});
  const auto q = [](int64_t T, int64_t H, int64_t K) { return at::randn({1, T, H, K}, at::kDouble); };
  EXPECT_THROW(landmark_attention_reference(q(10, 2, 4), keys), Error);
  EXPECT_THROW(landmark_attention_reference(q(9, 3, 4), keys), Error);
  EXPECT_THROW(landmark_attention_reference(q(9, 2, 8), keys), Error);
  EXPECT_THROW(landmark_attention_reference(q(9, 2, 4).to(at::kFloat), keys), Error);
  LandmarkOptions options;
  options.miss_cutoff = 0.1;
  EXPECT_THROW(landmark_attention_reference(q(9, 2, 4), keys, options), Error);
}

}  // namespace
}  // namespace mneme
