#include "train/schedule.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

TEST(Schedule, WarmsUpFromZeroAndEndsAtItsFloor) {
  ScheduleOptions o;
  o.warmup = 10;
  o.floor = 0.1;
  EXPECT_EQ(rate_factor(o, 0, 100), 0);
  EXPECT_DOUBLE_EQ(rate_factor(o, 5, 100), 0.5);
  EXPECT_DOUBLE_EQ(rate_factor(o, 10, 100), 1);
  EXPECT_NEAR(rate_factor(o, 100, 100), 0.1, 1e-12);
}

TEST(Schedule, OneCycleRisesFromAHundredthAndFallsToAFifth) {
  ScheduleOptions o;
  o.kind = "onecycle";
  o.warmup_ratio = 0.1;
  EXPECT_NEAR(rate_factor(o, 0, 100), 0.01, 1e-12);
  EXPECT_NEAR(rate_factor(o, 9, 100), 1, 1e-12);
  EXPECT_NEAR(rate_factor(o, 99, 100), 0.2, 1e-12);
}

TEST(Schedule, StepsByGamma) {
  ScheduleOptions o;
  o.kind = "step";
  o.gamma = 0.5;
  EXPECT_EQ(rate_factor(o, 99, 1000), 1);
  EXPECT_EQ(rate_factor(o, 250, 1000), 0.25);
  o.kind = "alternate";
  EXPECT_NEAR(rate_factor(o, 251, 1000), 0.025, 1e-12);
  EXPECT_EQ(rate_factor(o, 250, 1000), 0.25);
}

}  // namespace
}  // namespace mneme
