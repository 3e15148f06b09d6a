#include "train/truncation.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

TEST(Truncation, BeforeJoinsExactlyTheLastSegments) {
  for (int64_t depth = 1; depth <= 5; ++depth) {
    int64_t last_cut = 0;
    for (int64_t t = 0; t < 5; ++t)
      last_cut = cuts_at(Truncation::detach_before, t, 5, depth).before ? t : last_cut;
    EXPECT_EQ(5 - last_cut, depth == 5 ? 5 : depth);
  }
}

TEST(Truncation, AfterLeavesTheFirstBorderWhole) {
  EXPECT_FALSE(cuts_at(Truncation::detach_after, 0, 4, 1).after);
  EXPECT_TRUE(cuts_at(Truncation::detach_after, 1, 4, 2).after);
  EXPECT_FALSE(cuts_at(Truncation::detach_after, 3, 4, 2).after);
}

TEST(Truncation, NamesAreKnown) {
  EXPECT_EQ(parse_truncation("none"), Truncation::none);
  EXPECT_THROW(parse_truncation("k2"), Error);
}

}  // namespace
}  // namespace mneme
