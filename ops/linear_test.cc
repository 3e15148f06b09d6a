#include "ops/linear.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/gradcheck.h"

namespace mneme {
namespace {

double relative(const Tensor& found, const Tensor& expected) {
  if (expected.numel() == 0) return 0;
  const Tensor e = expected.to(at::kDouble);
  return ((found.to(at::kDouble) - e).abs().max() / (1e-6 + e.abs().max())).item<double>();
}

Tensors linear_of(const Tensors& t) { return {linear(t[0], Weight(t[1]), t[2])}; }
Tensors exact_linear(const Tensors& t) { return {at::linear(t[0], t[1], t[2])}; }

TEST(Linear, Float64IsLibtorchs) {
  at::manual_seed(1);
  const Tensor x = at::randn({3, 5, 7}, at::kDouble), w = at::randn({11, 7}, at::kDouble),
               b = at::randn({11}, at::kDouble);
  EXPECT_TRUE(gradients_match(linear_of, {x, w, b}));
  EXPECT_TRUE(gradients_match(linear_of, {x, w, Tensor()}));
}

TEST(Linear, Float32ValuesAndGradientsOnEveryLevel) {
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level > cpu_level_available()) break;
    const ForceCpuLevel force(level);
    for (const at::ScalarType master : {at::kFloat, at::kBFloat16}) {
      for (const auto& [rows, in, out] :
           std::vector<std::tuple<int, int, int>>{{1, 7, 5}, {6, 33, 40}, {50, 65, 31}, {0, 3, 4}}) {
        SCOPED_TRACE(cpu_level_name(level) + " rows " + std::to_string(rows));
        at::manual_seed(2);
        const Tensor x = at::randn({2, rows, in}), w = at::randn({out, in}).to(master),
                     b = at::randn({out}).to(master), dy = at::randn({2, rows, out});
        const Tensors wide{x.to(at::kDouble), w.to(at::kDouble), b.to(at::kDouble)};
        EXPECT_LT(relative(linear(x, Weight(w), b), exact_linear(wide)[0]), 1e-6);
        const Tensors found = gradients(linear_of, {x, w, b}, {dy});
        const Tensors exact = gradients(exact_linear, wide, {dy.to(at::kDouble)});
        EXPECT_EQ(found[0].scalar_type(), at::kFloat);
        EXPECT_EQ(found[1].scalar_type(), master);
        EXPECT_LT(relative(found[0], exact[0]), 1e-6);
        EXPECT_LT(relative(found[1], exact[1]), master == at::kFloat ? 1e-6 : 1.0 / 256);
        EXPECT_LT(relative(found[2], exact[2]), master == at::kFloat ? 1e-6 : 1.0 / 256);
      }
    }
  }
}

TEST(Linear, Float32TakesPackedWeightsAndRowsAlone) {
  at::manual_seed(7);
  const Tensor x = at::randn({20, 40}), w = at::randn({30, 40}), b = at::randn({30});
  Weight packed(w.clone());
  packed.pack();
  EXPECT_LT(relative(linear(x, packed, b), at::linear(x, w, b)), 0.01);
  const Tensor all = linear(x, Weight(w), b);
  for (int64_t i = 0; i < 20; ++i) EXPECT_TRUE(at::equal(linear(x[i], Weight(w), b), all[i]));
}

TEST(Linear, Bf16ValuesAndGradientsOnEveryLevel) {
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    if (level > cpu_level_available()) break;
    const ForceCpuLevel force(level);
    for (const at::ScalarType master : {at::kFloat, at::kBFloat16}) {
      for (const auto& [rows, in, out] :
           std::vector<std::tuple<int, int, int>>{{1, 7, 5}, {6, 33, 40}, {50, 65, 31}, {0, 3, 4}}) {
        SCOPED_TRACE(cpu_level_name(level) + " rows " + std::to_string(rows));
        at::manual_seed(2);
        const Tensor x = at::randn({2, rows, in}).to(at::kBFloat16), w = at::randn({out, in}).to(master);
        const Tensor b = at::randn({out}).to(master), seen = w.to(at::kBFloat16).to(at::kDouble);
        const Tensors wide{x.to(at::kDouble), seen, b.to(at::kDouble)};
        const Tensor y = linear(x, Weight(w), b);
        EXPECT_EQ(y.scalar_type(), at::kBFloat16);
        EXPECT_LT(relative(y, exact_linear(wide)[0]), 1.0 / 256);
        const Tensor dy = at::randn({2, rows, out}).to(at::kBFloat16);
        const Tensors found = gradients(linear_of, {x, w, b}, {dy});
        const Tensors exact = gradients(exact_linear, wide, {dy.to(at::kDouble)});
        EXPECT_EQ(found[0].scalar_type(), at::kBFloat16);
        EXPECT_EQ(found[1].scalar_type(), master);
        EXPECT_LT(relative(found[0], exact[0]), 1.0 / 256);
        EXPECT_LT(relative(found[1], exact[1]), master == at::kFloat ? 1e-6 : 1.0 / 256);
        EXPECT_LT(relative(found[2], exact[2]), master == at::kFloat ? 1e-6 : 1.0 / 256);
      }
    }
  }
}

TEST(Linear, FollowsTheMasterWeight) {
  at::manual_seed(3);
  const Tensor x = at::randn({4, 8}).to(at::kBFloat16);
  const Weight w(at::randn({6, 8}).requires_grad_());
  const Tensor before = linear(x, w).detach().clone();
  {
    const at::NoGradGuard no_grad;
    w.value().mul_(2);
  }
  EXPECT_TRUE(at::equal(linear(x, w), before * 2));
  Tensor leaf = x.detach().clone().requires_grad_();
  linear(leaf, w).sum().backward();
  const Tensor first = leaf.grad().clone();
  {
    const at::NoGradGuard no_grad;
    w.value().mul_(2);
  }
  leaf.mutable_grad() = Tensor();
  linear(leaf, w).sum().backward();
  EXPECT_TRUE(at::equal(leaf.grad(), first * 2));
}

TEST(Linear, AMasterWeightChangedBeforeTheBackwardPassIsAnError) {
  const Weight w(at::randn({6, 8}).requires_grad_());
  const Tensor y = linear(at::randn({4, 8}).to(at::kBFloat16).requires_grad_(), w);
  {
    const at::NoGradGuard no_grad;
    w.value().mul_(2);
  }
  EXPECT_THROW(y.sum().backward(), c10::Error);
}

// LoRA: the matrix is frozen, plain or packed, and only x learns.
TEST(Linear, FrozenWeightsPassTheGradientOn) {
  at::manual_seed(4);
  const Tensor x = at::randn({5, 40}).to(at::kBFloat16), w = at::randn({30, 40}).to(at::kBFloat16);
  const Tensor dy = at::randn({5, 30}).to(at::kBFloat16);
  Weight packed(w.clone());
  packed.pack();
  EXPECT_TRUE(packed.packed());
  const auto dx = [&](const Weight& weight) {
    return gradients([&](const Tensors& t) { return Tensors{linear(t[0], weight)}; }, {x}, {dy})[0];
  };
  EXPECT_LT(relative(dx(packed), dy.to(at::kDouble).matmul(w.to(at::kDouble))), 1.0 / 256);
  EXPECT_TRUE(at::equal(dx(packed), dx(Weight(w))));
}

TEST(Linear, AnInputThatNeedsNoGradientGetsNone) {
  const Weight w(at::randn({3, 4}).requires_grad_());
  const Tensor x = at::randn({2, 4}).to(at::kBFloat16);
  linear(x, w).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_LT(relative(w.value().grad(), x.to(at::kFloat).sum(0).expand({3, 4})), 1e-6);
}

TEST(Linear, TakesViewsAndHalf) {
  at::manual_seed(5);
  const Tensor x = at::randn({3, 4, 10}).to(at::kBFloat16), w = at::randn({6, 4}).to(at::kBFloat16);
  const Tensor turned = x.transpose(1, 2);  // [3, 10, 4], columns not contiguous
  EXPECT_TRUE(at::equal(linear(turned, Weight(w)), linear(turned.contiguous(), Weight(w))));
  const Tensor vector = at::randn({4}).to(at::kBFloat16);
  EXPECT_EQ(linear(vector, Weight(w)).sizes(), at::IntArrayRef({6}));
  EXPECT_EQ(linear(vector.to(at::kHalf), Weight(w)).scalar_type(), at::kHalf);
}

TEST(Weight, PackedIsTheSameMatrix) {
  at::manual_seed(6);
  const Tensor w = at::randn({37, 45}).to(at::kBFloat16),
               ids = at::tensor({36, 0, 5, 5}, at::kLong).view({2, 2});
  Weight weight(w.clone());
  const Weight other = weight;
  weight.pack();
  EXPECT_TRUE(other.packed());
  EXPECT_EQ(weight.out(), 37);
  EXPECT_EQ(weight.in(), 45);
  EXPECT_EQ(weight.dtype(), at::kBFloat16);
  EXPECT_TRUE(at::equal(weight.value(), w));
  EXPECT_TRUE(at::equal(weight.rows(ids), at::embedding(w, ids)));
  EXPECT_THROW(weight.set_requires_grad(true), Error);
}

TEST(Weight, WhatIsTrainedIsNotPacked) {
  Weight weight(at::ones({2, 2}).requires_grad_());
  weight.pack();
  EXPECT_FALSE(weight.packed());
  EXPECT_TRUE(weight.requires_grad());
}

TEST(Weight, WrongShapesAreBugs) {
  EXPECT_THROW(Weight(at::ones({2})), Error);
  EXPECT_THROW(linear(at::ones({2, 3}), Weight(at::ones({2, 2}))), Error);
}

}  // namespace
}  // namespace mneme
