#include "eval/intervals.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace mneme {
namespace {

TEST(Intervals, WilsonsHoldsTheShare) {
  const Accuracy a{90, 100};
  EXPECT_NEAR(a.low(), 0.8256, 1e-3);
  EXPECT_NEAR(a.high(), 0.9448, 1e-3);
  EXPECT_EQ((Accuracy{0, 20}).low(), 0);
  EXPECT_NEAR((Accuracy{0, 20}).high(), 0.1611, 1e-3);
}

TEST(Intervals, TheBootstrapHasTheWidthOfTheStandardError) {
  // 400 documents of weight 1, normal with deviation 2: the mean's standard error is 0.1.
  std::vector<Part> parts;
  Random random({.seed = 5});
  for (int i = 0; i < 400; ++i) parts.push_back({3 + 2 * random.normal(), 1});
  const auto interval = bootstrap(parts, 1);
  ASSERT_TRUE(interval);
  EXPECT_LT(interval->low, ratio(parts));
  EXPECT_GT(interval->high, ratio(parts));
  EXPECT_NEAR(interval->high - interval->low, 2 * 1.96 * 0.1, 0.05);
  EXPECT_EQ(bootstrap(parts, 1)->low, interval->low);
  EXPECT_FALSE(bootstrap({{1, 1}}, 1));
}

TEST(Intervals, LongDocumentsWeighMore) { EXPECT_DOUBLE_EQ(ratio({{10, 1}, {10, 9}}), 2); }

}  // namespace
}  // namespace mneme
