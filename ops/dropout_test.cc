#include "ops/dropout.h"

#include "base/error.h"
#include "ops/elementwise_cases.h"

namespace mneme {
namespace {

constexpr Site kSite{
    .seed = 7, .step = 3, .row = 5, .segment = 2, .layer = 4, .draw = Draw::dropout_residual};

std::vector<Site> rows_from(Site site, size_t rows) {
  std::vector<Site> out(rows, site);
  for (size_t b = 0; b < rows; ++b) out[b].row += b;
  return out;
}

TEST(Dropout, IsTheMaskTimesTheInput) {
  at::manual_seed(1);
  at_every_level([] {
    for (const int64_t width : {1, 17, 100, 9000}) {
      const Tensor x = at::randn({3, width}), mask = dropout_mask({3, width}, 0.25, rows_from(kSite, 3));
      EXPECT_TRUE(at::equal(dropout(x, 0.25, kSite), x * mask));
      const Tensor narrow = x.to(at::kBFloat16);
      EXPECT_TRUE(at::equal(dropout(narrow, 0.25, kSite), (narrow.to(at::kFloat) * mask).to(at::kBFloat16)));
      const Tensor wide = x.to(at::kDouble);
      EXPECT_TRUE(at::equal(dropout(wide, 0.25, kSite), wide * mask));
    }
  });
}

TEST(Dropout, DropsTheShareAskedForAndKeepsTheMean) {
  const Tensor x = at::ones({8, 50000});
  for (const double p : {0.1, 0.5, 0.9}) {
    const Tensor y = dropout(x, p, kSite);
    EXPECT_NEAR((y == 0).to(at::kDouble).mean().item<double>(), p, 0.004);  // 5 deviations
    EXPECT_NEAR(y.to(at::kDouble).mean().item<double>(), 1, 0.03);
  }
}

TEST(Dropout, TheGradientHasTheSameMask) {
  at::manual_seed(2);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const Tensor x = at::randn({2, 3, 50}).to(type).requires_grad_();
    const Tensor given = at::randn({2, 3, 50}).to(type);
    dropout(x, 0.3, kSite).backward(given);
    EXPECT_TRUE(at::equal(x.grad(), dropout(given, 0.3, kSite)));
  }
  auto f = [](const Tensors& in) { return Tensors{dropout(in[0], 0.3, kSite).sin()}; };
  EXPECT_TRUE(gradients_match(f, {at::randn({2, 30}, at::kDouble)}));
}

TEST(Dropout, ARowDoesNotDependOnItsNeighbours) {
  const Tensor x = at::ones({4, 300}), all = dropout(x, 0.4, kSite);
  for (int64_t b = 0; b < 4; ++b) {
    Site own = kSite;
    own.row += static_cast<uint64_t>(b);
    EXPECT_TRUE(at::equal(dropout(x.narrow(0, b, 1), 0.4, own), all.narrow(0, b, 1)));
  }
  EXPECT_FALSE(at::equal(all[0], all[1]));
  const std::vector<Site> sites = rows_from(kSite, 4);
  const Tensor swapped = dropout(x, 0.4, std::vector<Site>{sites[1], sites[0], sites[3], sites[2]});
  EXPECT_TRUE(at::equal(swapped, all.index_select(0, at::tensor({1, 0, 3, 2}, at::kLong))));
}

TEST(Dropout, PiecesOfARowMakeTheWhole) {
  const Tensor x = at::ones({2, 10, 70}), all = dropout(x, 0.4, kSite);
  for (const int64_t cut : {1, 3, 7}) {
    Site later = kSite;
    later.position = static_cast<uint64_t>(cut * 70);
    const Tensor pieces = at::cat(
        {dropout(x.narrow(1, 0, cut), 0.4, kSite), dropout(x.narrow(1, cut, 10 - cut), 0.4, later)}, 1);
    EXPECT_TRUE(at::equal(pieces, all));
  }
}

TEST(Dropout, ThreadsDoNotChangeBits) {
  const int threads = at::get_num_threads();
  Tensors runs;
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    runs.push_back(dropout(at::ones({3, 50001}), 0.5, kSite));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(runs[0], runs[1]));
  EXPECT_TRUE(at::equal(runs[0], runs[2]));
}

TEST(Dropout, TheEnds) {
  const Tensor x = at::randn({2, 20});
  EXPECT_TRUE(dropout(x, 0, kSite).is_same(x));
  EXPECT_TRUE(at::equal(dropout(x, 1, kSite), at::zeros({2, 20})));
  EXPECT_TRUE(at::equal(dropout(at::full({2, 20}, std::nan("")), 1, kSite), at::zeros({2, 20})));
  EXPECT_EQ(dropout(at::zeros({0, 20}), 0.5, kSite).size(0), 0);
  EXPECT_EQ(dropout(at::zeros({2, 0}), 0.5, kSite).size(0), 2);
  EXPECT_THROW(dropout(x, 1.5, kSite), Error);
  EXPECT_THROW(dropout(x, 0.5, rows_from(kSite, 3)), Error);
}

}  // namespace
}  // namespace mneme
