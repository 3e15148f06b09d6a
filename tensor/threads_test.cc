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

#if defined(__x86_64__)
TEST(Threads, BlasUsesTheProcessorsVectors) {
  set_threads(0);
  // OpenBLAS's name of its SSE3 kernels, which it falls back to on processors that it does not know.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    EXPECT_NE(blas_kernels(), "Prescott");
  }
  const Tensor a = at::randn({70, 50}), b = at::randn({50, 90});
  EXPECT_LT((a.mm(b) - a.to(at::kDouble).mm(b.to(at::kDouble))).abs().max().item<double>(), 1e-4);
}
#endif

}  // namespace
}  // namespace mneme
