#include "tensor/threads.h"

#include <gtest/gtest.h>
#include <omp.h>

#include "base/error.h"
#include "base/threads.h"
#include "tensor/tensor.h"

namespace mneme {
namespace {

TEST(Threads, OneNumberForLibtorchAndOpenMp) {
  EXPECT_EQ(set_threads(3), 3);
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_EQ(omp_get_max_threads(), 3);
  EXPECT_EQ(set_threads(0), available_cores());
  EXPECT_EQ(at::get_num_threads(), available_cores());
}

TEST(Threads, LibtorchBringsABlas) { EXPECT_NE(loaded_blas(), "none"); }

}  // namespace
}  // namespace mneme
