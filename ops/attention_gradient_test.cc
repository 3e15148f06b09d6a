#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/attention_cases.h"
#include "ops/cpu.h"
#include "ops/gradcheck.h"

namespace mneme {
namespace {

class AttentionGradients : public ::testing::TestWithParam<AttentionLevel> {};

Tensors differentiable(const AttentionCase& c) {
  Tensors out{c.q};
  for (const Keys& keys : c.sources) out.insert(out.end(), {keys.q, keys.k, keys.v});
  return out;
}

template <class Attention>
TensorFunction call_of(const AttentionCase& c, Attention attend) {
  return [&c, attend](const Tensors& in) {
    std::vector<Keys> sources = c.sources;
    for (size_t s = 0; s < sources.size(); ++s) {
      sources[s].q = in[1 + 3 * s], sources[s].k = in[2 + 3 * s], sources[s].v = in[3 + 3 * s];
    }
    Tensor lse;
    const Tensor out = attend(in[0], sources, c.options, &lse);
    return Tensors{out, lse.nan_to_num(0, 0, 0)};
  };
}

// Error over size, of each gradient as a whole and of its worst element against the largest.
void expect_gradients_of_reference(const AttentionCase& c, double tolerance, const std::string& where) {
  if (c.q.numel() == 0) return;
  const Tensors inputs = differentiable(c);
  Tensors exact;
  for (const Tensor& t : inputs) exact.push_back(t.defined() ? t.to(at::kDouble) : t);
  const TensorFunction kernel = call_of(c, attention), reference = call_of(c, attention_reference);
  const Tensors cotangents = random_cotangents(kernel(inputs));
  const Tensors found = gradients(kernel, inputs, cotangents);
  const Tensors expected = gradients(reference, exact, cotangents);
  for (size_t i = 0; i < found.size(); ++i) {
    if (!expected[i].defined() || expected[i].numel() == 0) continue;
    ASSERT_TRUE(found[i].defined()) << where << " input " << i;
    EXPECT_EQ(found[i].scalar_type(), inputs[i].scalar_type());
    const double size = std::max(1.0, expected[i].abs().max().item<double>());
    EXPECT_LT(worst(found[i], expected[i]) / size, tolerance) << where << " input " << i;
    const double norm = expected[i].norm().item<double>();
    const double error = (found[i].to(at::kDouble) - expected[i]).norm().item<double>();
    EXPECT_LE(error, tolerance * std::max(norm, 1.0)) << where << " input " << i;
  }
}

TEST_P(AttentionGradients, EqualTheReferencesInFp32) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 0; seed < 80; ++seed) {
    expect_gradients_of_reference(CaseMaker(seed, at::kFloat).make(), 2e-5, "seed " + std::to_string(seed));
  }
}

TEST_P(AttentionGradients, EqualTheReferencesInBf16) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 500; seed < 580; ++seed) {
    expect_gradients_of_reference(CaseMaker(seed, at::kBFloat16).make(), 2e-2,
                                  "seed " + std::to_string(seed));
  }
}

// Several blocks of queries and keys; one key head, so that the keys are shared out over several items.
TEST_P(AttentionGradients, EqualTheReferencesOnLongCalls) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      CaseLimits long_limits{.widths = {32, 72}, .rows = 2, .queries = 400, .keys = 500};
      expect_gradients_of_reference(CaseMaker(seed, type, long_limits).make(),
                                    type == at::kFloat ? 2e-5 : 2e-2, "seed " + std::to_string(seed));
    }
  }
  CaseMaker make(1, at::kFloat);
  AttentionCase c;
  c.q = make.normal({1, 60, 2, 32});
  for (int s = 0; s < 2; ++s) {
    Keys keys;
    keys.k = make.normal({1, 2100, 1, 32});
    keys.v = make.normal({1, 2100, 1, 32});
    c.sources.push_back(keys);
  }
  expect_gradients_of_reference(c, 2e-5, "shares");
}

TEST_P(AttentionGradients, ReplayDropout) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 40; seed < 60; ++seed) {
    AttentionCase c = CaseMaker(seed, at::kFloat).make();
    c.options.dropout = 0.25;
    c.options.site.seed = seed;
    expect_gradients_of_reference(c, 2e-5, "seed " + std::to_string(seed));
  }
}

TEST_P(AttentionGradients, HaveTheSameBitsOnAnyNumberOfThreadsAndInAnyBatch) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  const int before = at::get_num_threads();
  CaseMaker make(3, at::kBFloat16);
  AttentionCase c;
  c.q = make.normal({2, 150, 6, 64});
  Keys keys;
  keys.k = make.normal({2, 1200, 2, 64});
  keys.v = make.normal({2, 1200, 2, 64});
  c.sources = {keys};
  const Tensor cotangent = make.normal(c.q.sizes());
  const TensorFunction kernel = call_of(c, attention);
  at::set_num_threads(1);
  const Tensors expected = gradients(kernel, differentiable(c), {cotangent, Tensor()});
  for (const int threads : {2, 5}) {
    at::set_num_threads(threads);
    const Tensors found = gradients(kernel, differentiable(c), {cotangent, Tensor()});
    for (const size_t i : {0, 2, 3})
      EXPECT_TRUE(found[i].equal(expected[i])) << threads << " threads, input " << i;
  }
  at::set_num_threads(before);
  AttentionCase second = c;
  second.q = c.q.narrow(0, 1, 1);
  second.sources[0].k = keys.k.narrow(0, 1, 1);
  second.sources[0].v = keys.v.narrow(0, 1, 1);
  const Tensors alone =
      gradients(call_of(second, attention), differentiable(second), {cotangent.narrow(0, 1, 1), Tensor()});
  for (const size_t i : {0, 2, 3}) EXPECT_TRUE(alone[i].equal(expected[i].narrow(0, 1, 1))) << "input " << i;
}

INSTANTIATE_TEST_SUITE_P(Levels, AttentionGradients, ::testing::ValuesIn(attention_levels()),
                         [](const auto& info) { return name_of(info.param); });

TEST(AttentionGradientsWanted, ReachOnlyWhatAsksForThem) {
  CaseMaker make(5, at::kFloat);
  const Tensor q = make.normal({1, 10, 2, 32}).requires_grad_();
  Keys text, memory, cache;
  text.k = make.normal({1, 10, 2, 32}).requires_grad_();
  text.v = make.normal({1, 10, 2, 32}).requires_grad_();
  memory.k = make.normal({1, 20, 2, 32});
  memory.v = make.normal({1, 20, 2, 32}).requires_grad_();
  memory.sight = Sight::all;
  cache.pages = {{{make.normal({2, 8, 32}), make.normal({2, 8, 32}), 1, 6}}};
  at::AutoGradMode enable(true);
  attention(q, {text, memory, cache}).sum().backward();
  EXPECT_TRUE(q.grad().defined() && text.k.grad().defined() && text.v.grad().defined());
  EXPECT_TRUE(memory.v.grad().defined());
  EXPECT_FALSE(memory.k.grad().defined());
}

// Biases and slopes that are learned go through the reference.
TEST(AttentionGradientsWanted, ReachBiasesAndSlopes) {
  CaseMaker make(6, at::kFloat);
  const Tensor q = make.normal({1, 10, 2, 32});
  Keys keys;
  keys.k = make.normal({1, 10, 2, 32});
  keys.v = make.normal({1, 10, 2, 32});
  keys.bias = make.normal({2, 10}).requires_grad_();
  keys.slopes = make.normal({2}).requires_grad_();
  at::AutoGradMode enable(true);
  attention(q, {keys}).square().sum().backward();
  EXPECT_TRUE(keys.bias.grad().defined() && keys.slopes.grad().defined());
}

}  // namespace
}  // namespace mneme
