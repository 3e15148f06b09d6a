#include "ops/cross_entropy.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

TEST(HeadCrossEntropy, MatchesLogSoftmaxAndSkipsIgnored) {
  at::manual_seed(1);
  const Tensor h = at::randn({6, 5}, at::kDouble), w = at::randn({9, 5}, at::kDouble);
  const Tensor targets = at::tensor({3, -100, 0, 8, -1, 2}, at::kLong);
  const LossResult r = head_cross_entropy(h, Weight(w), {}, targets, true);
  const Tensor logp = at::log_softmax(at::linear(h, w), 1);
  for (int64_t i = 0; i < 6; ++i) {
    const int64_t t = targets[i].item<int64_t>();
    EXPECT_NEAR(r.loss[i].item<double>(), t < 0 ? 0.0 : -logp[i][t].item<double>(), 1e-12);
    EXPECT_EQ(r.correct[i].item<bool>(), t >= 0 && logp[i].argmax().item<int64_t>() == t);
  }
}

}  // namespace
}  // namespace mneme
