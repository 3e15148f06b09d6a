#include "ops/cross_entropy.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/gradcheck.h"

namespace mneme {
namespace {

// The definition, on whole logits.
Tensor plain_loss(const Tensor& hidden, const Tensor& head, const Tensor& bias, const Tensor& targets) {
  const Tensor logp = at::log_softmax(at::linear(hidden, head, bias), 1);
  const Tensor loss = -logp.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1);
  return at::where(targets >= 0, loss, at::zeros_like(loss));
}

Tensor targets_with_gaps(int64_t n, int64_t vocabulary) {
  Tensor targets = at::randint(vocabulary, {n}, at::kLong);
  for (int64_t i = 0; i < n; i += 3) targets[i] = i % 2 ? -100 : -1;
  return targets;
}

struct Case {
  int64_t n, width, vocabulary;
  bool bias, gaps;
};
const std::vector<Case> kCases{{6, 5, 9, false, true},     {1, 3, 1, false, false},
                               {7, 40, 33, true, true},    {70, 64, 100, true, false},
                               {40, 33, 1000, true, true}, {20, 32, 9000, false, true}};

struct Inputs {
  Tensor hidden, head, bias, targets;
};

Inputs inputs(const Case& c) {
  at::manual_seed(static_cast<uint64_t>(c.n * 1000 + c.vocabulary));
  return {at::randn({c.n, c.width}, at::kDouble), at::randn({c.vocabulary, c.width}, at::kDouble),
          c.bias ? at::randn({c.vocabulary}, at::kDouble) : Tensor(),
          c.gaps ? targets_with_gaps(c.n, c.vocabulary) : at::randint(c.vocabulary, {c.n}, at::kLong)};
}

double worst(const Tensor& found, const Tensor& expected) {
  if (expected.numel() == 0) return 0;
  return ((found.to(at::kDouble) - expected).abs() / (1 + expected.abs().max())).max().item<double>();
}

TEST(HeadCrossEntropy, Float64MatchesTheDefinitionAndItsGradients) {
  for (const Case& c : kCases) {
    const Inputs in = inputs(c);
    const LossResult r = head_cross_entropy(in.hidden, Weight(in.head), in.bias, in.targets, true);
    EXPECT_LT(worst(r.loss, plain_loss(in.hidden, in.head, in.bias, in.targets)), 1e-12);
    const Tensor z = at::linear(in.hidden, in.head, in.bias), counts = in.targets >= 0;
    EXPECT_TRUE(at::equal(r.correct, at::logical_and(counts, z.argmax(1).eq(in.targets))));
    EXPECT_LT(worst(r.lse, at::where(counts, z.logsumexp(1), at::zeros_like(r.lse))), 1e-12);
    const auto f = [&](const Tensors& t) {
      return Tensors{head_cross_entropy(t[0], Weight(t[1]), t[2], in.targets).loss};
    };
    EXPECT_TRUE(gradients_match(f, {in.hidden, in.head, in.bias}));
  }
}

// Inputs rounded to `type`, against the definition in float64 on the same values.
void expect_close(const Case& c, at::ScalarType type, at::ScalarType master, double value, double gradient) {
  const Inputs in = inputs(c);
  const Tensor h = in.hidden.to(type), w = in.head.to(master),
               b = in.bias.defined() ? in.bias.to(at::kFloat) : Tensor();
  const Tensor cotangent = at::randn({c.n}, at::kDouble).to(at::kFloat);
  const auto f = [&](const Tensors& t) {
    return Tensors{head_cross_entropy(t[0], Weight(t[1]), t[2], in.targets).loss};
  };
  // The products see W in the activation's type.
  const Tensor w_seen = w.to(type).to(at::kDouble), b64 = b.defined() ? b.to(at::kDouble) : b;
  const auto plain = [&](const Tensors& t) { return Tensors{plain_loss(t[0], t[1], t[2], in.targets)}; };
  {
    const at::NoGradGuard no_grad;
    EXPECT_LT(worst(f({h, w, b})[0], plain({h.to(at::kDouble), w_seen, b64})[0]), value);
  }
  const Tensors found = gradients(f, {h, w, b}, {cotangent});
  const Tensors exact = gradients(plain, {h.to(at::kDouble), w_seen, b64}, {cotangent.to(at::kDouble)});
  EXPECT_EQ(found[0].scalar_type(), type);
  EXPECT_EQ(found[1].scalar_type(), master);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(found[i].defined(), exact[i].defined());
    if (found[i].defined()) {
      EXPECT_LT(worst(found[i], exact[i]), gradient) << i;
    }
  }
}

TEST(HeadCrossEntropy, Float32) {
  for (const Case& c : kCases) expect_close(c, at::kFloat, at::kFloat, 2e-6, 2e-6);
}

TEST(HeadCrossEntropy, Bf16OnEveryLevel) {
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    if (level > cpu_level_available()) break;
    const ForceCpuLevel force(level);
    for (const Case& c : kCases) {
      SCOPED_TRACE(cpu_level_name(level) + " vocabulary " + std::to_string(c.vocabulary));
      expect_close(c, at::kBFloat16, at::kFloat, 3e-6, 8e-3);
      expect_close(c, at::kBFloat16, at::kBFloat16, 3e-6, 8e-3);
    }
  }
}

// Enough of everything for several chunks of vocabulary, blocks of rows and threads.
TEST(HeadCrossEntropy, LargeBf16) {
  expect_close({1100, 48, 8500, true, true}, at::kBFloat16, at::kFloat, 3e-6, 8e-3);
}

TEST(HeadCrossEntropy, IgnoredPositionsNeitherGiveNorTake) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    Tensor h = at::randn({4, 8}).to(type);
    h[1] = std::numeric_limits<float>::quiet_NaN();
    const Tensor w = at::randn({10, 8}).to(type == at::kDouble ? at::kDouble : at::kFloat);
    for (const Tensor& targets : {at::tensor({3, -100, 9, -7}, at::kLong), at::full({4}, -100, at::kLong)}) {
      const auto f = [&](const Tensors& t) {
        return Tensors{head_cross_entropy(t[0], Weight(t[1]), {}, targets).loss.sum()};
      };
      const Tensors d = gradients(f, {h, w}, {at::ones({}, w.options())});
      EXPECT_TRUE(at::isfinite(d[1]).all().item<bool>());
      EXPECT_TRUE(at::isfinite(d[0]).all().item<bool>());
      EXPECT_EQ(d[0][1].abs().sum().item<double>(), 0);
      EXPECT_EQ(d[0][3].abs().sum().item<double>(), 0);
    }
  }
}

TEST(HeadCrossEntropy, NoPositions) {
  for (const at::ScalarType type : {at::kDouble, at::kBFloat16}) {
    const LossResult r = head_cross_entropy(at::empty({0, 4}, type), Weight(at::randn({5, 4}).to(type)), {},
                                            at::empty({0}, at::kLong), true);
    EXPECT_EQ(r.loss.numel(), 0);
    EXPECT_EQ(r.correct.numel(), 0);
  }
}

// Logits of thousands and columns that are masked out: nothing overflows.
TEST(HeadCrossEntropy, ExtremeLogits) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Tensor h = at::tensor({1.0, -1.0}, at::kFloat).view({2, 1}).to(type);
    const Tensor w = at::tensor({4096.0, 4095.0, -4096.0, 0.0}, at::kFloat).view({4, 1});
    Tensor bias = at::zeros({4});
    bias[1] = -std::numeric_limits<float>::infinity();
    const LossResult r = head_cross_entropy(h, Weight(w), bias, at::tensor({0, 0}, at::kLong), true);
    EXPECT_EQ(r.loss[0].item<float>(), 0);
    EXPECT_EQ(r.loss[1].item<float>(), 8192);
    EXPECT_TRUE(r.correct[0].item<bool>());
    EXPECT_FALSE(r.correct[1].item<bool>());
  }
}

TEST(HeadCrossEntropy, NansReachTheLoss) {
  const Tensor h = at::full({2, 3}, std::numeric_limits<float>::quiet_NaN()).to(at::kBFloat16);
  const LossResult r = head_cross_entropy(h, Weight(at::ones({40, 3})), {}, at::tensor({0, 39}, at::kLong));
  EXPECT_TRUE(at::isnan(r.loss).all().item<bool>());
}

TEST(HeadCrossEntropy, AFrozenPackedHeadPassesTheGradientOn) {
  at::manual_seed(3);
  const Tensor h = at::randn({9, 16}).to(at::kBFloat16), w = at::randn({50, 16}).to(at::kBFloat16);
  const Tensor targets = targets_with_gaps(9, 50);
  Weight packed(w.clone());
  packed.pack();
  const auto with = [&](const Weight& head) {
    return gradients(
        [&](const Tensors& t) { return Tensors{head_cross_entropy(t[0], head, {}, targets).loss}; }, {h},
        {at::ones({9})})[0];
  };
  EXPECT_TRUE(at::equal(with(packed), with(Weight(w))));
}

TEST(HeadCrossEntropy, RefusesTargetsOutsideTheVocabulary) {
  EXPECT_THROW(head_cross_entropy(at::ones({1, 2}), Weight(at::ones({3, 2})), {}, at::tensor({3}, at::kLong)),
               Error);
}

}  // namespace
}  // namespace mneme
