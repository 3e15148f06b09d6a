#include "ops/adamw.h"

#include <cmath>

#include "base/error.h"
#include "ops/elementwise_cases.h"

namespace mneme {
namespace {

// One parameter of each kind of size, with state of any type, stepped several times.
struct Trial {
  Tensors params, exp_avg, exp_avg_sq, copies;
  Trial(const Tensors& start, at::ScalarType type, bool copied) {
    for (const Tensor& p : start) {
      params.push_back(p.to(type, /*non_blocking=*/false, /*copy=*/true));
      exp_avg.push_back(at::zeros_like(params.back()));
      exp_avg_sq.push_back(at::zeros_like(params.back()));
      copies.push_back(copied ? params.back().to(at::kBFloat16) : Tensor());
    }
  }
  std::vector<AdamwStep> adamw(const Tensors& grads, int64_t t) const {
    std::vector<AdamwStep> out;
    for (size_t i = 0; i < params.size(); ++i) {
      out.push_back({params[i], grads[i], exp_avg[i], exp_avg_sq[i], copies[i], t, 1e-2, i % 2 ? 0.1 : 0.0});
    }
    return out;
  }
  std::vector<SgdStep> sgd(const Tensors& grads, bool momentum, bool first) const {
    std::vector<SgdStep> out;
    for (size_t i = 0; i < params.size(); ++i) {
      out.push_back(
          {params[i], grads[i], momentum ? exp_avg[i] : Tensor(), copies[i], first, 1e-2, i % 2 ? 0.1 : 0.0});
    }
    return out;
  }
};

// Of the size of weights.
Tensors start() {
  Tensors out;
  for (const auto& sizes : std::vector<std::vector<int64_t>>{{5}, {40, 17}, {1}, {300, 130}, {0}}) {
    out.push_back(at::randn(sizes) * 0.2);
  }
  return out;
}

Tensors random_grads(const Tensors& like, at::ScalarType type) {
  Tensors out;
  for (const Tensor& p : like) out.push_back(at::randn(p.sizes()).to(type));
  return out;
}

TEST(AdamW, FollowsTheEquationsInFloat64) {
  at::manual_seed(1);
  at_every_level([] {
    for (const at::ScalarType grad_type : {at::kFloat, at::kBFloat16}) {
      const Tensors begin = start();
      const Trial found(begin, at::kFloat, true), plain(begin, at::kFloat, false),
          expected(begin, at::kDouble, false);
      const GradScale scale{0.5, 0.7};
      for (int64_t t = 1; t <= 20; ++t) {
        const Tensors grads = random_grads(begin, grad_type);
        adamw_step(found.adamw(grads, t), {0.9, 0.95, 1e-8}, scale);
        for (const Trial* trial : {&plain, &expected}) {
          for (const AdamwStep& s : trial->adamw(grads, t)) adamw_step_reference(s, {0.9, 0.95, 1e-8}, scale);
        }
      }
      for (size_t i = 0; i < begin.size(); ++i) {
        expect_close(found.params[i], expected.params[i], {1e-6, 0}, "param " + std::to_string(i));
        if (begin[i].numel() > 1000) {  // and no worse than libtorch's own fp32, which rounds as often
          const auto worst = [&](const Trial& t) {
            return (t.params[i] - expected.params[i]).abs().max().item<double>();
          };
          EXPECT_LT(worst(found), 2 * worst(plain));
        }
        expect_close(found.exp_avg[i], expected.exp_avg[i], {1e-6, 0}, "exp_avg");
        expect_close(found.exp_avg_sq[i], expected.exp_avg_sq[i], {1e-6, 0}, "exp_avg_sq");
        EXPECT_TRUE(at::equal(found.copies[i], found.params[i].to(at::kBFloat16)));
      }
    }
  });
}

TEST(AdamW, IsLibtorchsArithmeticToTheLastBits) {
  at::manual_seed(2);
  const Tensors begin{at::randn({1000, 30})};
  const Trial found(begin, at::kFloat, false), expected(begin, at::kFloat, false);
  for (int64_t t = 1; t <= 3; ++t) {
    const Tensors grads = random_grads(begin, at::kFloat);
    adamw_step(found.adamw(grads, t), {}, {});
    for (const AdamwStep& s : expected.adamw(grads, t)) adamw_step_reference(s, {}, {});
  }
  // Contraction of a * b + c differs between builds of libtorch: a last bit here and there.
  expect_close(found.params[0], expected.params[0], {6e-8, 1.3e-7}, "param");
}

TEST(AdamW, FirstStepIsTheSignOfTheGradient) {
  const Tensor p = at::zeros({4}), g = at::tensor({3.0F, -2.0F, 1e-3F, -50.0F}), m = at::zeros({4}),
               v = at::zeros({4});
  adamw_step({{p, g, m, v, Tensor(), 1, 0.1, 0}}, {});
  expect_close(p, g.sign() * -0.1, {2e-6, 0}, "param");
}

TEST(AdamW, EarlyEpsIsFairseqs) {
  at::manual_seed(9);
  const AdamwOptions options{0.9, 0.98, 1e-2, true};
  const Tensors begin = start();
  const Trial found(begin, at::kFloat, false), reference(begin, at::kDouble, false);
  for (int64_t t = 1; t <= 4; ++t) {
    const Tensors grads = random_grads(begin, at::kFloat);
    adamw_step(found.adamw(grads, t), options);
    for (const AdamwStep& s : reference.adamw(grads, t)) {
      const double rate = s.lr * std::sqrt(1 - std::pow(0.98, t)) / (1 - std::pow(0.9, t));
      const Tensor m = s.exp_avg * 0.9 + s.grad * 0.1, v = s.exp_avg_sq * 0.98 + s.grad.square() * 0.02;
      const Tensor expected = s.param * (1 - s.lr * s.weight_decay) - rate * m / (v.sqrt() + 1e-2);
      adamw_step_reference(s, options, {});
      expect_close(s.param, expected, {1e-7, 0}, "reference");
    }
  }
  for (size_t i = 0; i < begin.size(); ++i)
    expect_close(found.params[i], reference.params[i], {1e-6, 0}, "kernel");
}

TEST(AdamW, DecayIsDecoupled) {
  const Tensor p = at::full({3}, 2.0F), z = at::zeros({3}), m = at::zeros({3}), v = at::zeros({3});
  adamw_step({{p, z, m, v, Tensor(), 1, 0.1, 0.5}}, {});
  expect_close(p, at::full({3}, 1.9F), {1e-7, 0}, "param");
}

TEST(AdamW, ParametersWithoutGradientAreLeftAlone) {
  const Tensor p = at::ones({3}), m = at::ones({3}), v = at::ones({3});
  adamw_step({{p, Tensor(), m, v, Tensor(), 1, 0.1, 0.5}}, {});
  sgd_step({{p, Tensor(), m, Tensor(), false, 0.1, 0.5}}, {0.9, 0, false});
  for (const Tensor* t : {&p, &m, &v}) EXPECT_TRUE(at::equal(*t, at::ones({3})));
}

TEST(AdamW, WritesAreVisibleInVersions) {
  const Tensor p = at::ones({3}).requires_grad_(), g = at::ones({3}), m = at::zeros({3}), v = at::zeros({3});
  const Tensor copy = at::ones({3}, at::kBFloat16);
  const int64_t before = p._version(), copy_before = copy._version();
  adamw_step({{p, g, m, v, copy, 1, 0.1, 0}}, {});
  EXPECT_GT(p._version(), before);
  EXPECT_GT(copy._version(), copy_before);
  EXPECT_TRUE(p.requires_grad());
}

TEST(AdamW, OtherTypesGoThroughTheReference) {
  at::manual_seed(3);
  const Tensor p = at::randn({10}).to(at::kBFloat16), g = at::randn({10}).to(at::kBFloat16);
  const Tensor wide = p.to(at::kFloat), before = p.clone();
  const Tensor m = at::zeros({10}), v = at::zeros({10}), n = at::zeros({10}), u = at::zeros({10});
  adamw_step({{p, g, m, v, Tensor(), 1, 0.1, 0.1}, {wide, g, n, u, Tensor(), 1, 0.1, 0.1}}, {});
  EXPECT_FALSE(at::equal(p, before));
  expect_close(p, wide, {1e-7, 4e-3}, "bf16 parameter");
  const Tensor strided = at::zeros({4, 6}).t(), dense = at::zeros({6, 4}), grad = at::randn({6, 4});
  const Tensor ms = at::zeros({6, 4}), vs = at::zeros({6, 4}), md = at::zeros({6, 4}), vd = at::zeros({6, 4});
  adamw_step({{strided, grad, ms, vs, Tensor(), 1, 0.1, 0}, {dense, grad, md, vd, Tensor(), 1, 0.1, 0}}, {});
  expect_close(strided, dense, {1e-7, 0}, "strided parameter");
}

TEST(AdamW, NanGradientsAreNotHidden) {
  const Tensor p = at::ones({20}), m = at::zeros({20}), v = at::zeros({20});
  at_every_level([&] {
    Tensor g = at::ones({20});
    g[18] = std::nan("");
    adamw_step({{p, g, m, v, Tensor(), 1, 0.1, 0}}, {}, {1, 0.5});
    EXPECT_TRUE(p[18].isnan().item<bool>());
    EXPECT_FALSE(p[17].isnan().item<bool>());
  });
}

TEST(Sgd, FollowsTheEquationsInFloat64) {
  at::manual_seed(4);
  at_every_level([] {
    for (const SgdOptions& o : {SgdOptions{0, 0, false}, SgdOptions{0.9, 0, false}, SgdOptions{0.9, 0, true},
                                SgdOptions{0.5, 0.2, false}}) {
      const Tensors begin = start();
      const Trial found(begin, at::kFloat, true), expected(begin, at::kDouble, false);
      for (int t = 0; t < 5; ++t) {
        const Tensors grads = random_grads(begin, at::kFloat);
        const bool momentum = o.momentum != 0;
        sgd_step(found.sgd(grads, momentum, t == 0), o, {0.5, 0.7});
        for (const SgdStep& s : expected.sgd(grads, momentum, t == 0)) sgd_step_reference(s, o, {0.5, 0.7});
      }
      for (size_t i = 0; i < begin.size(); ++i) {
        expect_close(found.params[i], expected.params[i], {1e-6, 3e-7}, "param " + std::to_string(i));
        EXPECT_TRUE(at::equal(found.copies[i], found.params[i].to(at::kBFloat16)));
      }
    }
  });
}

TEST(Sgd, PlainStepIsByHand) {
  const Tensor p = at::full({2}, 1.0F), g = at::full({2}, 4.0F), buffer = at::zeros({2});
  sgd_step({{p, g, buffer, Tensor(), true, 0.1, 0.5}}, {0.9, 0, false});  // g = 4.5
  expect_close(p, at::full({2}, 0.55F), {1e-6, 0}, "first");
  sgd_step({{p, g, buffer, Tensor(), false, 0.1, 0}}, {0.9, 0, false});  // m = 4.05 + 4
  expect_close(p, at::full({2}, -0.255F), {1e-6, 0}, "second");
}

TEST(Clipping, NormOfAllTogether) {
  at::manual_seed(5);
  at_every_level([] {
    const Tensors grads{at::randn({100000}), at::randn({3, 7}).to(at::kBFloat16), Tensor(),
                        at::randn({5}, at::kDouble), at::randn({64, 33}).t()};
    double expected = 0;
    for (const Tensor& g : grads) {
      if (g.defined()) expected += g.to(at::kDouble).square().sum().item<double>();
    }
    EXPECT_NEAR(global_norm(grads) / std::sqrt(expected), 1, 1e-7);
  });
  EXPECT_EQ(global_norm({}), 0);
  EXPECT_EQ(global_norm({at::tensor({3.0F}), at::tensor({4.0F})}), 5);
}

TEST(Clipping, ThreadsDoNotChangeBits) {
  at::manual_seed(6);
  const Tensors grads{at::randn({200000}), at::randn({70001})};
  const int threads = at::get_num_threads();
  std::vector<double> norms;
  for (const int n : {1, 2, 3}) {
    at::set_num_threads(n);
    norms.push_back(global_norm(grads));
  }
  at::set_num_threads(threads);
  EXPECT_EQ(norms[0], norms[1]);
  EXPECT_EQ(norms[0], norms[2]);
}

TEST(Clipping, FactorIsTorchs) {
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(clip_factor(0, 1), 1);
  EXPECT_TRUE(std::isnan(clip_factor(INFINITY, 1)));
  EXPECT_TRUE(std::isnan(clip_factor(std::nan(""), 1)));
}

TEST(Clipping, GradientsAreScaledAndLimitedInPlace) {
  at::manual_seed(7);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const Tensor g = at::randn({1000}).to(type), strided = at::randn({20, 30}).to(type).t();
    const Tensor expected = (g.to(at::kDouble) * 0.5).clamp(-0.25, 0.25);
    const Tensor expected_strided = (strided.to(at::kDouble) * 0.5).clamp(-0.25, 0.25);
    scale_gradients({g, Tensor(), strided}, {0.5, 0.25});
    expect_close(g, expected, {1e-7, 0}, "scaled");
    expect_close(strided, expected_strided, {1e-7, 0}, "strided");
  }
}

TEST(AdamW, ShapesAreChecked) {
  const Tensor p = at::ones({3}), q = at::ones({4});
  EXPECT_THROW(adamw_step({{p, q, p, p, Tensor(), 1, 0.1, 0}}, {}), Error);
  EXPECT_THROW(adamw_step({{p, p, q, p, Tensor(), 1, 0.1, 0}}, {}), Error);
  EXPECT_THROW(sgd_step({{p, p, q, Tensor(), true, 0.1, 0}}, {}), Error);
}

}  // namespace
}  // namespace mneme
