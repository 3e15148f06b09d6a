#include "eval/token_statistics.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

TEST(TokenStatistics, IgnoredLabelsAreAClass) {
  const std::vector<int64_t> labels = {5, 5, 7, -100}, predictions = {5, 7, 7, 7};
  const TokenStatistics s = token_statistics(at::tensor(labels), at::tensor(predictions));
  EXPECT_DOUBLE_EQ(s.accuracy, 0.5);
  EXPECT_NEAR(s.precision, 0.583333, 1e-6);
  EXPECT_DOUBLE_EQ(s.recall, 0.5);
  EXPECT_NEAR(s.f1, 0.458333, 1e-6);
}

}  // namespace
}  // namespace mneme
