#include "ops/rotary.h"

#include <cmath>

#include "base/error.h"
#include "ops/elementwise_cases.h"

namespace mneme {
namespace {

at::TensorOptions f64() { return at::TensorOptions(at::kDouble); }

RotaryTable table(int64_t width, bool interleaved = false, double theta = 10000) {
  RotaryOptions o;
  o.width = width;
  o.interleaved = interleaved;
  o.theta = theta;
  return RotaryTable(o);
}

TEST(Rotary, TurnsThePairsOfEachLayout) {
  const Tensor x = at::arange(1, 7, f64()).view({1, 1, 1, 6});
  const double f1 = std::pow(10000.0, -0.5);
  // position 3, R = 4 of K = 6: angles 3 and 3 f1.
  const double c0 = std::cos(3.0), s0 = std::sin(3.0), c1 = std::cos(3 * f1), s1 = std::sin(3 * f1);
  const Tensor half =
      at::tensor({1 * c0 - 3 * s0, 2 * c1 - 4 * s1, 3 * c0 + 1 * s0, 4 * c1 + 2 * s1, 5., 6.}, f64());
  const Tensor pairs =
      at::tensor({1 * c0 - 2 * s0, 2 * c0 + 1 * s0, 3 * c1 - 4 * s1, 4 * c1 + 3 * s1, 5., 6.}, f64());
  const Tensor at3 = at::tensor({3}, at::kLong);
  expect_close(rotate(x, at3, table(4)).flatten(), half, {1e-14, 0}, "half split");
  expect_close(rotate(x, at3, table(4, true)).flatten(), pairs, {1e-14, 0}, "interleaved");
}

TEST(Rotary, ScoresDependOnTheDistanceAlone) {
  at::manual_seed(1);
  for (const bool interleaved : {false, true}) {
    const RotaryTable t = table(16, interleaved);
    const Tensor q = at::randn({1, 1, 1, 16}, f64()), k = at::randn({1, 1, 1, 16}, f64());
    const auto score = [&](int64_t i, int64_t j) {
      return (rotate(q, std::vector<int64_t>{i}, t) * rotate(k, std::vector<int64_t>{j}, t))
          .sum()
          .item<double>();
    };
    EXPECT_NEAR(score(5, 2), score(1005, 1002), 1e-10);
    EXPECT_NEAR(score(1, -1), score(2, 0), 1e-12);
    EXPECT_NEAR(score(-70, -200), score(130, 0), 1e-11);
  }
}

TEST(Rotary, TurningBackIsTheNegativePosition) {
  at::manual_seed(2);
  const RotaryTable t = table(32, true);
  const Tensor x = at::randn({2, 3, 2, 40}, f64()),
               p = at::tensor({5, 77, 100000, -1, 0, 3}, at::kLong).view({2, 3});
  expect_close(rotate(rotate(x, p, t), -p, t), x, {1e-13, 0}, "there and back");
}

TEST(Rotary, GradientsMatchDifferences) {
  at::manual_seed(3);
  for (const bool interleaved : {false, true}) {
    const RotaryTable t = table(6, interleaved);
    auto f = [&](const Tensors& in) { return Tensors{rotate(in[0], std::vector<int64_t>{-1, 40}, t)}; };
    EXPECT_TRUE(gradients_match(f, {at::randn({2, 3, 2, 8}, f64())}));
  }
}

TEST(Rotary, KernelsAgreeWithTheReference) {
  at::manual_seed(4);
  at_every_level([] {
    for (const bool interleaved : {false, true}) {
      for (const int64_t width : {2, 6, 16, 30, 64, 100, 128}) {
        for (const int64_t extra : {0, 5}) {
          SCOPED_TRACE(std::to_string(interleaved) + " " + std::to_string(width) + " " +
                       std::to_string(extra));
          const RotaryTable t = table(width, interleaved);
          auto f = [&](const Tensors& in) { return Tensors{rotate(in[0], std::vector<int64_t>{7, -2}, t)}; };
          const Tensor x = at::randn({2, 3, 2, width + extra}, f64());
          expect_like_reference(f, f, {x}, {at::kFloat}, {6e-7, 2e-7}, {6e-7, 2e-7});
          expect_like_reference(f, f, {x}, {at::kBFloat16}, {1e-6, 4e-3}, {1e-6, 4e-3});
        }
      }
    }
  });
}

TEST(Rotary, InPlaceAndStridedViewsGiveTheSame) {
  at::manual_seed(5);
  at_every_level([] {
    for (const bool interleaved : {false, true}) {
      const RotaryTable t = table(24, interleaved);
      const Tensor qkv = at::randn({2, 5, 3 * 4 * 32});
      const Tensor k = qkv.narrow(-1, 4 * 32, 4 * 32).view({2, 5, 4, 32});
      const Rotation r = t.run({3, 900}, 5, k.options());
      const Tensor expected = rotate(k.contiguous(), r);
      EXPECT_TRUE(at::equal(rotate(k, r), expected));
      const Tensor heads_first = k.transpose(1, 2).contiguous().transpose(1, 2);
      EXPECT_TRUE(at::equal(rotate(heads_first, r), expected));
      const Tensor wide = qkv.clone();
      const Tensor view = wide.narrow(-1, 4 * 32, 4 * 32).view({2, 5, 4, 32});
      const int64_t version = wide._version();
      rotate_(view, r);
      EXPECT_TRUE(at::equal(view, expected));
      EXPECT_GT(wide._version(), version);
      EXPECT_TRUE(at::equal(wide.narrow(-1, 0, 128), qkv.narrow(-1, 0, 128)));
    }
  });
}

TEST(Rotary, OneRowOfPositionsServesAllRows) {
  at::manual_seed(6);
  const RotaryTable t = table(16);
  const Tensor x = at::randn({3, 4, 2, 16});
  const Tensor expected = rotate(x, std::vector<int64_t>{9, 9, 9}, t);
  EXPECT_TRUE(at::equal(rotate(x, at::arange(9, 13), t), expected));
  EXPECT_TRUE(at::equal(rotate(x, std::vector<int64_t>{9}, t), expected));
}

TEST(Rotary, FarPositionsAreExact) {
  const RotaryTable t = table(8);
  const std::vector<int64_t> far{10'000'000'000, -10'000'000'000, (int64_t{1} << 62) + 7};
  const Rotation r = t.run(far, 2, f64());
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t i = 0; i < 4; ++i) {
      const double angle =
          static_cast<double>(far[static_cast<size_t>(b)] + 1) * t.frequencies()[static_cast<size_t>(i)];
      EXPECT_EQ(r.cos[b][1][i].item<double>(), std::cos(angle));
      EXPECT_EQ(r.sin[b][1][i].item<double>(), std::sin(angle));
    }
  }
}

TEST(Rotary, TheCacheStaysBoundedAndRight) {
  const RotaryTable t = table(4);
  const Rotation before = t.run({0}, 3, at::TensorOptions(at::kFloat));
  std::vector<int64_t> scattered;
  for (int64_t i = 0; i < 3000; ++i) scattered.push_back(i * 1000);
  const Rotation wide = t.run(scattered, 1, at::TensorOptions(at::kFloat));
  EXPECT_FLOAT_EQ(wide.cos[2999][0][0].item<float>(), static_cast<float>(std::cos(2999000.0)));
  const Rotation after = t.run({0}, 3, at::TensorOptions(at::kFloat));
  EXPECT_TRUE(at::equal(before.cos, after.cos) && at::equal(before.sin, after.sin));
}

TEST(Rotary, LinearScalingDividesPositions) {
  RotaryOptions o;
  o.width = 8;
  o.scaling = RotaryScaling::linear;
  o.factor = 4;
  expect_close(RotaryTable(o).run({8}, 1, f64()).cos, table(8).run({2}, 1, f64()).cos, {1e-14, 0}, "linear");
}

TEST(Rotary, DynamicScalingFollowsTheLength) {
  RotaryOptions o;
  o.width = 8;
  o.scaling = RotaryScaling::dynamic;
  o.factor = 2;
  o.original_length = 16;
  const RotaryTable t(o);
  EXPECT_EQ(t.frequencies(16), table(8).frequencies());
  const double theta = 10000 * std::pow(2.0 * 40 / 16 - 1, 8.0 / 6);
  EXPECT_EQ(t.frequencies(40), table(8, false, theta).frequencies());
  // The call's own largest position counts unless the caller knows better.
  const Tensor stretched = table(8, false, theta).run({30}, 10, f64()).cos;
  EXPECT_TRUE(at::equal(t.run({30}, 10, f64()).cos, stretched));
  EXPECT_TRUE(at::equal(t.run({30}, 5, f64(), 40).cos, stretched.narrow(1, 0, 5)));
  EXPECT_TRUE(at::equal(t.run({3}, 5, f64()).cos, table(8).run({3}, 5, f64()).cos));
}

TEST(Rotary, Llama3ScalingKeepsShortWavesAndStretchesLongOnes) {
  RotaryOptions o;
  o.width = 64;
  o.theta = 500000;
  o.scaling = RotaryScaling::llama3;
  o.factor = 8;
  o.original_length = 8192;
  const std::vector<double> scaled = RotaryTable(o).frequencies(),
                            plain = table(64, false, 500000).frequencies();
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wave = 2 * M_PI / plain[i];
    if (wave < 8192 / 4.0) {
      EXPECT_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wave > 8192) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 8);
      ++stretched;
    } else {
      const double smooth = (8192 / wave - 1) / 3;
      EXPECT_NEAR(scaled[i], plain[i] * ((1 - smooth) / 8 + smooth), 1e-15);
      ++between;
    }
  }
  EXPECT_TRUE(kept > 0 && stretched > 0 && between > 0);
}

TEST(Rotary, OptionsWithoutMeaningAreRefused) {
  RotaryOptions o;
  o.width = 8;
  const auto refused = [](const RotaryOptions& options) { EXPECT_THROW(RotaryTable{options}, Error); };
  for (const int64_t width : {0, 3, -2}) {
    RotaryOptions bad = o;
    bad.width = width;
    refused(bad);
  }
  RotaryOptions bad = o;
  bad.theta = 0;
  refused(bad);
  bad = o;
  bad.scaling = RotaryScaling::linear;
  bad.factor = 0;
  refused(bad);
  bad.factor = 2;
  bad.scaling = RotaryScaling::dynamic;  // no original length
  refused(bad);
  bad.scaling = RotaryScaling::llama3;
  bad.original_length = 8;
  bad.high_freq_factor = bad.low_freq_factor;
  refused(bad);
}

TEST(Rotary, ShapesAreChecked) {
  const RotaryTable t = table(8);
  EXPECT_THROW(rotate(at::zeros({1, 2, 1, 6}), std::vector<int64_t>{0}, t), Error);
  EXPECT_THROW(rotate(at::zeros({3, 2, 1, 8}), std::vector<int64_t>{0, 1}, t), Error);
  EXPECT_THROW(rotate_(at::zeros({1, 2, 1, 8}).requires_grad_(), t.run({0}, 2, at::kFloat)), Error);
  EXPECT_EQ(rotate(at::zeros({0, 2, 1, 8}), std::vector<int64_t>{}, t).size(0), 0);
}

}  // namespace
}  // namespace mneme
