#include "ops/sgemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "ops/cpu.h"

namespace mneme {
namespace {

std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> out;
  for (const CpuLevel l : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512}) {
    if (l <= cpu_level_available()) out.push_back(l);
  }
  return out;
}

// Against fp64, relative to the sum of the magnitudes: in any order, K sums of fp32 stay well below this.
constexpr double kSums = 1e-6;
double error(const Tensor& found, const Tensor& a, const Tensor& b, const Tensor& start = {}) {
  const Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  Tensor exact = x.matmul(y), size = x.abs().matmul(y.abs()) + 1e-6;
  if (start.defined()) {
    exact = exact + start.to(at::kDouble);
    size = size + start.to(at::kDouble).abs();
  }
  if (exact.numel() == 0) return 0;
  return ((found.to(at::kDouble) - exact) / size).abs().max().item<double>();
}

struct Shape {
  int64_t m, n, k;
};
const std::vector<Shape> kShapes{{1, 1, 1},      {1, 33, 7},     {2, 31, 65},  {5, 100, 129}, {14, 32, 256},
                                 {15, 64, 257},  {9, 17, 31},    {0, 5, 6},    {5, 0, 6},     {3, 5, 0},
                                 {31, 1, 1000},  {33, 47, 32},   {6, 16, 512}, {70, 200, 1},  {100, 65, 333},
                                 {300, 130, 70}, {29, 1100, 260}};

// The same matrix with its rows, its columns, or neither next to each other in memory.
std::vector<Tensor> layouts(const Tensor& t) {
  const int64_t m = t.size(0), n = t.size(1);
  Tensor rows = at::full({m, n + 5}, NAN).slice(1, 2, 2 + n),
         columns = at::full({n, m + 3}, NAN).slice(1, 1, 1 + m).t(),
         gaps = at::full({2 * m, 3 * n}, NAN).slice(0, 0, 2 * m, 2).slice(1, 0, 3 * n, 3);
  for (Tensor* to : {&rows, &columns, &gaps}) to->copy_(t);
  return {t, t.t().contiguous().t(), rows, columns, gaps};
}

TEST(Sgemm, ProductsOnEveryLevel) {
  at::manual_seed(1);
  for (const CpuLevel level : levels()) {
    const ForceCpuLevel force(level);
    for (const Shape& s : kShapes) {
      SCOPED_TRACE(cpu_level_name(level) + " " + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" +
                   std::to_string(s.k));
      const Tensor a = at::randn({s.m, s.k}), b = at::randn({s.k, s.n}), bias = at::randn({s.n});
      const Tensor plain = matrix_product(a, b);
      EXPECT_LT(error(plain, a, b), kSums);
      EXPECT_LT(error(matrix_product(a, b, bias), a, b, bias), kSums);
      const Tensor wide = at::randn({s.m, s.n + 3}), before = wide.clone();
      add_matrix_product(wide.slice(1, 0, s.n), a, b);
      EXPECT_LT(error(wide.slice(1, 0, s.n), a, b, before.slice(1, 0, s.n)), kSums);
      EXPECT_TRUE(at::equal(wide.slice(1, s.n), before.slice(1, s.n))) << "written beyond the columns";
      for (const Tensor& x : layouts(a)) {
        for (const Tensor& y : layouts(b)) EXPECT_TRUE(at::equal(matrix_product(x, y), plain));
      }
    }
  }
}

// The words of the header: chunks of 256, in order, with one rounding for each product and sum where the
// processor fuses them.
TEST(Sgemm, IsTheSumThatTheHeaderSays) {
  at::manual_seed(2);
  const Tensor a = at::randn({3, 600}), b = at::randn({600, 40}), bias = at::randn({40});
  for (const CpuLevel level : levels()) {
    if (level == CpuLevel::baseline) continue;  // its compiler may fuse, too
    const ForceCpuLevel force(level);
    const Tensor found = matrix_product(a, b, bias);
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 40; ++j) {
        float expected = bias[j].item<float>();
        for (int64_t chunk = 0; chunk < 600; chunk += 256) {
          float sum = 0;
          for (int64_t k = chunk; k < std::min<int64_t>(600, chunk + 256); ++k) {
            sum = std::fmaf(a.data_ptr<float>()[i * 600 + k], b.data_ptr<float>()[k * 40 + j], sum);
          }
          expected += sum;
        }
        ASSERT_EQ(found[i][j].item<float>(), expected) << cpu_level_name(level) << " " << i << ", " << j;
      }
    }
  }
}

TEST(Sgemm, ARowDependsOnItselfAlone) {
  at::manual_seed(3);
  const Tensor a = at::randn({61, 300}), w = at::randn({150, 300}), bias = at::randn({150});
  for (const CpuLevel level : levels()) {
    const ForceCpuLevel force(level);
    const Tensor all = matrix_product(a, w.t(), bias);
    for (const int64_t count : {1, 2, 8, 13, 14, 15, 29, 60}) {
      for (const int64_t first : {int64_t{0}, 61 - count}) {
        EXPECT_TRUE(
            at::equal(matrix_product(a.narrow(0, first, count), w.t(), bias), all.narrow(0, first, count)))
            << cpu_level_name(level) << " " << count;
      }
    }
    // And a column on itself.
    EXPECT_TRUE(
        at::equal(matrix_product(a, w.slice(0, 37, 90).t(), bias.slice(0, 37, 90)), all.slice(1, 37, 90)));
  }
}

TEST(Sgemm, AnyNumberOfThreadsGivesTheSameBits) {
  at::manual_seed(4);
  const int before = at::get_num_threads();
  for (const CpuLevel level : levels()) {
    const ForceCpuLevel force(level);
    for (const Shape& s : {Shape{150, 170, 700}, Shape{1, 900, 300}, Shape{700, 40, 90}, Shape{9, 9, 5000}}) {
      const Tensor a = at::randn({s.m, s.k}), b = at::randn({s.k, s.n}), start = at::randn({s.m, s.n});
      at::set_num_threads(1);
      const Tensor one = matrix_product(a, b), turned = matrix_product(b.t(), a.t()).t(), sum = start.clone();
      add_matrix_product(sum, a, b);
      EXPECT_TRUE(at::equal(one, turned));
      for (const int threads : {2, 3, 5}) {
        at::set_num_threads(threads);
        EXPECT_TRUE(at::equal(one, matrix_product(a, b)));
        const Tensor again = start.clone();
        add_matrix_product(again, a, b);
        EXPECT_TRUE(at::equal(sum, again));
      }
    }
  }
  at::set_num_threads(before);
}

TEST(Sgemm, InfinitiesAndNansAreNotLost) {
  for (const CpuLevel level : levels()) {
    const ForceCpuLevel force(level);
    Tensor a = at::ones({3, 40}), b = at::ones({40, 5});
    a[1][35] = INFINITY;
    b[3][2] = NAN;
    const Tensor c = matrix_product(a, b);
    EXPECT_EQ(c[1][0].item<float>(), INFINITY);
    EXPECT_TRUE(at::isnan(c.select(1, 2)).all().item<bool>());
    EXPECT_EQ(c[2][4].item<float>(), 40.0f);
  }
}

TEST(Sgemm, OtherTypesAreLibtorchs) {
  at::manual_seed(5);
  const Tensor a = at::randn({4, 6}, at::kDouble), b = at::randn({6, 3}, at::kDouble),
               bias = at::randn({3}, at::kDouble);
  EXPECT_TRUE(at::equal(matrix_product(a, b, bias), at::addmm(bias, a, b)));
  const Tensor sum = at::ones({4, 3}, at::kDouble);
  add_matrix_product(sum, a, b);
  EXPECT_TRUE(at::allclose(sum, a.mm(b) + 1));
}

TEST(Sgemm, WrongShapesAreBugs) {
  EXPECT_THROW(matrix_product(at::ones({2, 3}), at::ones({2, 3})), Error);
  EXPECT_THROW(matrix_product(at::ones({2, 3}), at::ones({3, 2}, at::kDouble)), Error);
  EXPECT_THROW(matrix_product(at::ones({2, 3}), at::ones({3, 2}), at::ones({3})), Error);
  EXPECT_THROW(add_matrix_product(at::ones({2, 3}), at::ones({2, 3}), at::ones({3, 2})), Error);
}

}  // namespace
}  // namespace mneme
