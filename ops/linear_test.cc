#include "ops/linear.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

TEST(Linear, MatchesLibtorch) {
  at::manual_seed(1);
  const Tensor x = at::randn({3, 5, 7}), w = at::randn({11, 7}), b = at::randn({11});
  EXPECT_TRUE(at::allclose(linear(x, Weight(w), b), at::linear(x, w, b)));
  const Tensor y = linear(x.to(at::kBFloat16), Weight(w), b);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_LT((y.to(at::kFloat) - at::linear(x, w, b)).abs().max().item<float>(), 0.1);
}

}  // namespace
}  // namespace mneme
