#include "base/threads.h"

#include <gtest/gtest.h>
#include <omp.h>

#include "base/error.h"

namespace mneme {
namespace {

TEST(BaseThreads, ZeroMeansAllCores) {
  EXPECT_EQ(set_base_threads(0), available_cores());
  EXPECT_GE(available_cores(), 1);
  EXPECT_EQ(set_base_threads(3), 3);
  int seen = 0;
#pragma omp parallel
#pragma omp single
  seen = omp_get_num_threads();
  EXPECT_EQ(seen, 3);
  set_base_threads(0);
}

TEST(BaseThreads, RefusesAbsurdNumbers) {
  EXPECT_THROW(set_base_threads(-1), Error);
  EXPECT_THROW(set_base_threads(1000000), Error);
}

}  // namespace
}  // namespace mneme
