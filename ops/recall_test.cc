#include "ops/recall.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mneme {
namespace {

TEST(Recall, OneMemoryIsGivenBackExactly) {
  const Tensor m = at::randn({2, 1, 8}), wq = at::randn({4, 8}), wk = at::randn({4, 8});
  const Recalled r = recall(m, {1, 1}, at::randn({2, 8}), wq, wk, 2.0, at::kFloat);
  EXPECT_TRUE(r.vectors.equal(m.squeeze(1)));
}

TEST(Recall, ShorterListsEqualThemselvesAlone) {
  const Tensor m = at::randn({2, 5, 8}), s = at::randn({2, 8}), wq = at::randn({4, 8}),
               wk = at::randn({4, 8});
  const Recalled both = recall(m, {5, 3}, s, wq, wk, 2.0, at::kDouble);
  const Recalled one =
      recall(m.narrow(0, 1, 1).narrow(1, 0, 3), {3}, s.narrow(0, 1, 1), wq, wk, 2.0, at::kDouble);
  EXPECT_TRUE(both.vectors[1].allclose(one.vectors[0], 1e-12, 1e-12));
  EXPECT_EQ(both.best[1], one.best[0]);
}

TEST(Recall, WideModelsDivideByTheWidthInTrainingOnly) {
  EXPECT_EQ(recall_divisor(4096, 4096, true), 4096);
  EXPECT_EQ(recall_divisor(4096, 4096, false), 64);
  EXPECT_EQ(recall_divisor(4096, 768, true), 64);
}

TEST(Recall, Bf16RoundsWeightsAndResult) {
  const Recalled r = recall(at::randn({1, 4, 16}), {4}, at::randn({1, 16}), at::randn({8, 16}),
                            at::randn({8, 16}), std::sqrt(8.0), at::kBFloat16);
  EXPECT_EQ(r.vectors.scalar_type(), at::kBFloat16);
  EXPECT_EQ(r.weights.scalar_type(), at::kBFloat16);
}

}  // namespace
}  // namespace mneme
