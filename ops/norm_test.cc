#include "ops/norm.h"

#include "base/error.h"
#include "ops/elementwise_cases.h"

namespace mneme {
namespace {

at::TensorOptions f64() { return at::TensorOptions(at::kDouble); }

Tensor random(at::IntArrayRef sizes, double scale = 1, double shift = 0) {
  return at::randn(sizes, f64()) * scale + shift;
}

Tensors pair(const std::pair<Tensor, Tensor>& p) { return {p.first, p.second}; }

constexpr double kEps = 1e-5;

const TensorFunction kRms = [](const Tensors& in) { return Tensors{rms_norm(in[0], in[1], kEps)}; };
const TensorFunction kLayer = [](const Tensors& in) {
  return Tensors{layer_norm(in[0], in[1], in[2], kEps)};
};
const TensorFunction kAddRms = [](const Tensors& in) {
  return pair(add_rms_norm(in[0], in[1], in[2], kEps));
};
const TensorFunction kAddLayer = [](const Tensors& in) {
  return pair(add_layer_norm(in[0], in[1], in[2], in[3], kEps));
};

TEST(Norm, ReferencesHaveTheRightGradients) {
  at::manual_seed(1);
  const Tensor x = random({2, 3, 10}), d = random({2, 3, 10}), w = random({10}, 0.3, 1), b = random({10});
  EXPECT_TRUE(gradients_match(kRms, {x, w}));
  EXPECT_TRUE(gradients_match(kLayer, {x, w, b}));
  EXPECT_TRUE(gradients_match(kLayer, {x, w, Tensor()}));
  EXPECT_TRUE(gradients_match(kAddRms, {x, d, w}));
  EXPECT_TRUE(gradients_match(kAddLayer, {x, d, w, b}));
}

TEST(Norm, LayerNormIsThatOfLibtorch) {
  at::manual_seed(2);
  const Tensor x = random({4, 33}, 3, 5), w = random({33}), b = random({33});
  expect_close(layer_norm(x, w, b, kEps), at::layer_norm(x, {33}, w, b, kEps), {1e-12, 0}, "layer_norm");
}

struct Types {
  at::ScalarType x, weight;
  Tolerance value, gradient;
};
const std::vector<Types> kTypes{{at::kFloat, at::kFloat, {2e-6, 2e-6}, {2e-5, 5e-6}},
                                {at::kBFloat16, at::kFloat, {1e-3, 9e-3}, {3e-2, 9e-3}},
                                {at::kBFloat16, at::kBFloat16, {1e-3, 9e-3}, {3e-2, 1.2e-2}},
                                {at::kFloat, at::kBFloat16, {2e-6, 2e-6}, {3e-2, 5e-3}}};

// Widths that fill vectors, that leave tails of every kind, and that are shorter than a vector.
const std::vector<int64_t> kWidths{1, 3, 16, 31, 64, 100, 129, 768, 1030};

TEST(Norm, KernelsAgreeWithTheReferences) {
  at::manual_seed(3);
  at_every_level([] {
    for (const Types& t : kTypes) {
      for (const int64_t width : kWidths) {
        SCOPED_TRACE(dtype_name(t.x) + " " + dtype_name(t.weight) + " " + std::to_string(width));
        const Tensor x = random({2, 5, width}, 1, 0.5), w = random({width}, 0.3, 1), b = random({width});
        expect_like_reference(kRms, kRms, {x, w}, {t.x, t.weight}, t.value, t.gradient);
        // One element minus its mean is nothing: the gradient is all rounding.
        if (width < 3) continue;
        expect_like_reference(kLayer, kLayer, {x, w, b}, {t.x, t.weight, t.weight}, t.value, t.gradient);
        expect_like_reference(kLayer, kLayer, {x, w, Tensor()}, {t.x, t.weight, t.weight}, t.value,
                              t.gradient);
      }
    }
  });
}

TEST(Norm, ResidualKernelsAgreeWithTheReferences) {
  at::manual_seed(4);
  at_every_level([] {
    for (const Types& t : kTypes) {
      for (const int64_t width : {3, 100, 768}) {
        SCOPED_TRACE(dtype_name(t.x) + " " + dtype_name(t.weight) + " " + std::to_string(width));
        // Multiples of 1/16 add without rounding, so both sides normalise the same sum.
        const Tensor x = (random({7, width}) * 16).round().clamp(-31, 31) / 16;
        const Tensor d = (random({7, width}) * 16).round().clamp(-31, 31) / 16;
        const Tensor w = random({width}, 0.3, 1), b = random({width});
        expect_like_reference(kAddRms, kAddRms, {x, d, w}, {t.x, t.x, t.weight}, t.value, t.gradient);
        expect_like_reference(kAddLayer, kAddLayer, {x, d, w, b}, {t.x, t.x, t.weight, t.weight}, t.value,
                              t.gradient);
      }
    }
  });
}

TEST(Norm, ResidualFormsEqualTheirParts) {
  at::manual_seed(5);
  const Tensor x = at::randn({6, 96}).to(at::kBFloat16), d = at::randn({6, 96}).to(at::kBFloat16),
               w = at::randn({96});
  at_every_level([&] {
    const auto [sum, normed] = add_rms_norm(x, d, w, kEps);
    EXPECT_TRUE(at::equal(sum, x + d));
    EXPECT_TRUE(at::equal(normed, rms_norm(sum, w, kEps)));
    const auto [layer_sum, layer_normed] = add_layer_norm(x, d, w, w, kEps);
    EXPECT_TRUE(at::equal(layer_sum, sum));
    EXPECT_TRUE(at::equal(layer_normed, layer_norm(sum, w, w, kEps)));
  });
}

TEST(Norm, GradientsFlowThroughEitherOutputAlone) {
  at::manual_seed(6);
  const Tensor x = at::randn({6, 40}), d = at::randn({6, 40}), w = at::randn({40});
  for (const int output : {0, 1}) {
    auto only = [output](const Tensors& in) { return Tensors{kAddRms(in)[static_cast<size_t>(output)]}; };
    expect_like_reference(only, only, {x.to(at::kDouble), d.to(at::kDouble), w.to(at::kDouble)},
                          {at::kFloat, at::kFloat, at::kFloat}, {2e-6, 2e-6}, {2e-5, 5e-6});
  }
}

TEST(Norm, FrozenWeightsAndInputsGetNoGradient) {
  const Tensor x = at::randn({3, 20}).requires_grad_(), w = at::randn({20});
  rms_norm(x, w, kEps).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  const Tensor y = at::randn({3, 20}), v = at::randn({20}).requires_grad_();
  layer_norm(y, v, Tensor(), kEps).sum().backward();
  EXPECT_TRUE(v.grad().defined());
  EXPECT_FALSE(y.grad().defined());
}

TEST(Norm, RmsNormRoundsAsTheModelsDo) {
  at::manual_seed(7);
  const Tensor x = at::randn({50, 128}).to(at::kBFloat16);
  for (const at::ScalarType weight_type : {at::kFloat, at::kBFloat16}) {
    const Tensor w = (at::randn({128}) * 0.3 + 1).to(weight_type);
    const Tensor difference = (rms_norm(x, w, 1e-6) != rms_norm_reference(x, w, 1e-6)).sum();
    EXPECT_LE(difference.item<int64_t>(), 20);  // of 6400: the sums are ordered differently
  }
}

TEST(Norm, ThreadsDoNotChangeBits) {
  at::manual_seed(8);
  const Tensor x = at::randn({700, 96}), w = at::randn({96}), b = at::randn({96});
  const int threads = at::get_num_threads();
  std::vector<Tensors> runs;
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    runs.push_back(gradients(kLayer, {x, w, b}, {at::ones_like(x)}));
    runs.back().push_back(layer_norm(x, w, b, kEps));
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < runs[0].size(); ++i) {
    EXPECT_TRUE(at::equal(runs[0][i], runs[1][i]));
    EXPECT_TRUE(at::equal(runs[0][i], runs[2][i]));
  }
}

TEST(Norm, LargeMeansKeepTheirVariance) {
  at::manual_seed(9);
  const Tensor x = random({4, 256}, 1, 1000), w = at::ones({256}, f64());
  expect_like_reference(kLayer, kLayer, {x, w, Tensor()}, {at::kFloat, at::kFloat, at::kFloat}, {3e-4, 0},
                        {1e-3, 0});
}

TEST(Norm, StridedAndEmptyInputs) {
  at::manual_seed(10);
  const Tensor x = at::randn({8, 5, 12}).transpose(0, 1), w = at::randn({12});
  expect_close(rms_norm(x, w, kEps), rms_norm_reference(x, w, kEps), {2e-6, 2e-6}, "transposed");
  EXPECT_EQ(rms_norm(at::zeros({0, 12}), w, kEps).sizes(), at::IntArrayRef({0, 12}));
  auto empty = [](const Tensors& in) { return Tensors{rms_norm(in[0], in[1], kEps)}; };
  const Tensors g = gradients(empty, {at::zeros({0, 12}), w}, {at::zeros({0, 12})});
  EXPECT_TRUE(at::equal(g[1], at::zeros({12})));
}

TEST(Norm, NansStay) {
  Tensor x = at::ones({2, 40}).to(at::kBFloat16);
  x[1][7] = std::nan("");
  const Tensor y = rms_norm(x, at::ones({40}), kEps);
  EXPECT_FALSE(y[0].isnan().any().item<bool>());
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
}

TEST(Norm, ShapesAreChecked) {
  EXPECT_THROW(rms_norm(at::zeros({2, 4}), at::zeros({5}), kEps), Error);
  EXPECT_THROW(layer_norm(at::zeros({2, 4}), at::zeros({4}), at::zeros({3}), kEps), Error);
  EXPECT_THROW(add_rms_norm(at::zeros({2, 4}), at::zeros({1, 4}), at::zeros({4}), kEps), Error);
}

}  // namespace
}  // namespace mneme
