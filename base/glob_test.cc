#include "base/glob.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

TEST(Glob, MatchesWholeNames) {
  EXPECT_TRUE(glob_match("layers.*.q.*", "layers.11.q.weight"));
  EXPECT_TRUE(glob_match("layers.?.q.weight", "layers.1.q.weight"));
  EXPECT_FALSE(glob_match("layers.?.q.weight", "layers.11.q.weight"));
  EXPECT_FALSE(glob_match("layers", "layers.1"));
  EXPECT_TRUE(glob_match("*", ""));
}

TEST(Glob, SaysWhatTheFirstStarStoodFor) {
  EXPECT_EQ(glob_match("seg*.logits", "seg12.logits"), "12");
  EXPECT_EQ(glob_match("a*b*", "axbxb"), "x");
  EXPECT_EQ(glob_match("plain", "plain"), "");
}

}  // namespace
}  // namespace mneme
