#include "ops/gemm.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/gemm_peak.h"

namespace mneme::gemm {
namespace {

struct Level {
  CpuLevel level;
  bool bf16;
};

std::string name(const Level& l) { return cpu_level_name(l.level) + (l.bf16 ? "" : " without vdpbf16ps"); }

// Every kernel that this machine can run.
std::vector<Level> levels() {
  std::vector<Level> out;
  for (const Level l :
       {Level{CpuLevel::baseline, false}, Level{CpuLevel::avx2, false}, Level{CpuLevel::avx512, false},
        Level{CpuLevel::avx512, true}, Level{CpuLevel::amx, true}}) {
    if (l.level <= cpu_level_available()) out.push_back(l);
  }
  return out;
}

Tensor random_bf16(int64_t rows, int64_t columns) { return at::randn({rows, columns}).to(at::kBFloat16); }

// Sums of bf16 products in fp32, in any order, against fp64: relative to the sum of the magnitudes.
double error(const Tensor& found, const Tensor& a, const Tensor& b_t, const Tensor& bias = {}) {
  const Tensor x = a.to(at::kDouble), y = b_t.to(at::kDouble);
  Tensor exact = x.matmul(y.t()), size = x.abs().matmul(y.abs().t()) + 1e-6;
  if (bias.defined()) {
    exact = exact + bias.to(at::kDouble);
    size = size + bias.to(at::kDouble).abs();
  }
  if (exact.numel() == 0) return 0;
  return ((found.to(at::kDouble) - exact) / size).abs().max().item<double>();
}

constexpr double kSums = 2e-6, kRounding = 1.0 / 256;

struct Shape {
  int64_t m, n, k;
};
const std::vector<Shape> kShapes{{1, 1, 1},    {1, 33, 7},   {2, 31, 65},    {5, 100, 129}, {8, 64, 64},
                                 {9, 17, 31},  {0, 5, 6},    {3, 5, 0},      {31, 1, 1000}, {33, 47, 32},
                                 {64, 96, 96}, {70, 200, 1}, {100, 65, 333}, {300, 130, 70}};

TEST(Gemm, ProductsOnEveryLevel) {
  at::manual_seed(1);
  for (const Level& l : levels()) {
    const ForceCpuLevel force(l.level, l.bf16);
    for (const Shape& s : kShapes) {
      SCOPED_TRACE(name(l) + " " + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" +
                   std::to_string(s.k));
      const Tensor x = random_bf16(s.m, s.k), w = random_bf16(s.n, s.k), bias = at::randn({s.n});
      const auto rows = PackedMatrix::of_rows(w);
      EXPECT_LT(error(product(x, *rows, {}, at::kFloat), x, w), kSums);
      EXPECT_LT(error(product(x, *rows, bias, at::kFloat), x, w, bias), kSums);
      EXPECT_LT(error(product(x, *rows, bias), x, w, bias), kRounding);
      EXPECT_LT(error(product(x, *rows, bias.to(at::kBFloat16), at::kFloat), x, w, bias.to(at::kBFloat16)),
                kSums);
      const Tensor dy = random_bf16(s.m, s.n);
      EXPECT_LT(error(product(dy, *PackedMatrix::of_columns(w), {}, at::kFloat), dy, w.t()), kSums);
      const Tensor dw = transposed_product(dy, x);
      EXPECT_EQ(dw.scalar_type(), at::kFloat);
      EXPECT_LT(error(dw, dy.t(), x.t()), kSums);
      const Tensor twice = transposed_product(dy, x, dw.clone());
      EXPECT_LT(error(twice / 2, dy.t(), x.t()), kSums);
    }
  }
}

// What runs when nothing is forced: on Intel without AMX, fp32 sums of widened numbers that are rounded by
// the instructions of AVX512_BF16, a mixture that no forced level has.
TEST(Gemm, ProductsAsTheMachineChooses) {
  at::manual_seed(2);
  EXPECT_TRUE(cpu_rounds_to_bf16() || !cpu_multiplies_bf16());
  for (const Shape& s : kShapes) {
    const Tensor x = random_bf16(s.m, s.k), w = at::randn({s.n, s.k}), dy = random_bf16(s.m, s.n);
    EXPECT_LT(error(product(x, *PackedMatrix::of_rows(w)), x, w.to(at::kBFloat16)), kRounding);
    EXPECT_LT(error(transposed_product(dy, x), dy.t(), x.t()), kSums);
  }
}

// Depths that are cut into chunks, rows in several blocks of the second-level cache.
TEST(Gemm, LargeProducts) {
  at::manual_seed(2);
  for (const Shape& s :
       {Shape{700, 100, 1100}, Shape{300, 900, 2100}, Shape{40, 100, 20000}, Shape{1200, 64, 33}}) {
    const Tensor x = random_bf16(s.m, s.k), w = random_bf16(s.n, s.k);
    EXPECT_LT(error(product(x, *PackedMatrix::of_rows(w), {}, at::kFloat), x, w), 1e-5);
    const Tensor dy = random_bf16(s.m, s.n);
    EXPECT_LT(error(transposed_product(dy, x), dy.t(), x.t()), 1e-5);
  }
}

TEST(Gemm, AnyNumberOfThreadsGivesTheSameBits) {
  at::manual_seed(3);
  const Tensor x = random_bf16(150, 200), w = random_bf16(170, 200);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = product(x, *PackedMatrix::of_rows(w)),
               row = product(x.slice(0, 0, 1), *PackedMatrix::of_rows(w));
  for (const int threads : {2, 3, 5}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(one, product(x, *PackedMatrix::of_rows(w))));
    EXPECT_TRUE(at::equal(row, product(x.slice(0, 0, 1), *PackedMatrix::of_rows(w))));
  }
  at::set_num_threads(before);
}

TEST(Gemm, ReadsViewsInPlace) {
  at::manual_seed(4);
  const Tensor wide = random_bf16(40, 100), w = random_bf16(20, 30);
  const Tensor x = wide.slice(1, 7, 37);
  EXPECT_LT(error(product(x, *PackedMatrix::of_rows(w), {}, at::kFloat), x, w), kSums);
  const Tensor dy = wide.slice(1, 50, 63);
  EXPECT_LT(error(transposed_product(dy, x), dy.t(), x.t()), kSums);
}

TEST(Gemm, EveryLevelKnowsItsPeak) {
  for (const Level& l : levels()) {
    const ForceCpuLevel force(l.level, l.bf16);
    EXPECT_GT(unit_peak(0), 1e6) << name(l);
  }
}

TEST(PackedMatrix, UnpacksToTheSameBits) {
  at::manual_seed(5);
  for (const Level& l : levels()) {
    const ForceCpuLevel force(l.level, l.bf16);
    for (const Shape& s : kShapes) {
      const Tensor w = random_bf16(s.n, s.k);
      const auto packed = PackedMatrix::of_rows(w);
      EXPECT_TRUE(at::equal(packed->unpack(), w)) << name(l);
      EXPECT_TRUE(at::equal(PackedMatrix::of_columns(w)->unpack(), w.t())) << name(l);
      if (s.n < 3) continue;
      const Tensor ids = at::tensor({s.n - 1, int64_t{0}, int64_t{2}, int64_t{0}}, at::kLong);
      EXPECT_TRUE(at::equal(packed->rows(ids), w.index_select(0, ids))) << name(l);
    }
  }
}

TEST(PackedMatrix, RoundsToNearestEvenOnEveryLevel) {
  at::manual_seed(6);
  Tensor w = at::randn({50, 70});
  const float ties[] = {1.00390625f, 1.01171875f, -1.00390625f, 3.0e38f, 3.4e38f, 0.0f, -0.0f};
  for (int i = 0; i < 7; ++i) w[3][i] = ties[i];
  w[4][0] = std::numeric_limits<float>::infinity();
  for (const Level& l : levels()) {
    const ForceCpuLevel force(l.level, l.bf16);
    EXPECT_TRUE(at::equal(PackedMatrix::of_rows(w)->unpack(), w.to(at::kBFloat16))) << name(l);
    EXPECT_TRUE(at::equal(PackedMatrix::of_columns(w)->unpack(), w.to(at::kBFloat16).t())) << name(l);
  }
}

TEST(PackedMatrix, NansSurvive) {
  for (const Level& l : levels()) {
    const ForceCpuLevel force(l.level, l.bf16);
    Tensor w = at::ones({3, 40});
    w[1][35] = std::numeric_limits<float>::quiet_NaN();
    const Tensor y = product(at::ones({1, 40}, at::kBFloat16), *PackedMatrix::of_rows(w));
    EXPECT_TRUE(at::isnan(y[0][1]).item<bool>()) << name(l);
    EXPECT_EQ(y[0][2].item<float>(), 40.0f) << name(l);
  }
}

TEST(PackedMatrix, RefusesRowsThatAreNotThere) {
  const auto packed = PackedMatrix::of_rows(at::ones({3, 4}));
  EXPECT_THROW(packed->rows(at::tensor({3}, at::kLong)), Error);
  EXPECT_THROW(packed->rows(at::tensor({-1}, at::kLong)), Error);
}

}  // namespace
}  // namespace mneme::gemm
