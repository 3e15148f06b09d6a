#include "ops/attention.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/gradcheck.h"

namespace mneme {
namespace {

TEST(AttentionReference, EqualsTheDefinitionOnRandomCalls) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const AttentionCase c =
        CaseMaker(seed, at::kDouble, {.widths = {16, 24}, .queries = 12, .keys = 30}).make();
    const AttentionAnswer answer = attention_by_loops(c);
    Tensor lse;
    const Tensor out = attention_reference(c.q, c.sources, c.options, &lse);
    EXPECT_LT(worst(out, answer.out), 1e-12) << "seed " << seed;
    EXPECT_LT(worst(lse, answer.lse), 1e-12) << "seed " << seed;
  }
}

TEST(AttentionReference, IsDifferentiable) {
  for (uint64_t seed = 100; seed < 106; ++seed) {
    AttentionCase c =
        CaseMaker(seed, at::kDouble, {.widths = {16}, .queries = 7, .keys = 11, .pages = false}).make();
    Tensors inputs = {c.q};
    for (const Keys& keys : c.sources) {
      inputs.insert(inputs.end(), {keys.k, keys.v, keys.q});
      inputs.push_back(keys.bias.defined() ? keys.bias.to(at::kDouble) : Tensor());
      inputs.push_back(keys.slopes.defined() ? keys.slopes.to(at::kDouble) : Tensor());
    }
    auto call = [&](const Tensors& in) {
      std::vector<Keys> sources = c.sources;
      for (size_t s = 0; s < sources.size(); ++s) {
        Keys& keys = sources[s];
        keys.k = in[1 + 5 * s], keys.v = in[2 + 5 * s], keys.q = in[3 + 5 * s];
        keys.bias = in[4 + 5 * s], keys.slopes = in[5 + 5 * s];
      }
      Tensor lse;
      Tensor out = attention_reference(in[0], sources, c.options, &lse);
      return Tensors{out, lse.nan_to_num(0, 0, 0)};
    };
    EXPECT_TRUE(gradients_match(call, inputs)) << "seed " << seed;
  }
}

TEST(AttentionReference, IgnoresWhatLiesBehindARow) {
  AttentionCase c;
  c.q = at::randn({1, 3, 2, 16});
  Keys keys;
  keys.k = at::randn({1, 8, 2, 16});
  keys.v = at::randn({1, 8, 2, 16});
  keys.length = {5};
  const Tensor expected = attention_reference(c.q, {keys});
  keys.k.narrow(1, 5, 3).fill_(std::nan(""));
  keys.v.narrow(1, 5, 3).fill_(std::nan(""));
  EXPECT_TRUE(attention_reference(c.q, {keys}).equal(expected));
}

TEST(Attention, RefusesShapesThatDoNotFit) {
  const Tensor q = at::zeros({1, 2, 4, 16});
  Keys keys;
  keys.k = keys.v = at::zeros({1, 5, 3, 16});
  EXPECT_THROW(attention(q, {keys}), Error);
  keys.k = keys.v = at::zeros({1, 5, 2, 16});
  keys.length = {6};
  EXPECT_THROW(attention(q, {keys}), Error);
  keys.length = {};
  keys.mask = at::ones({1, 2, 4}, at::kBool);
  EXPECT_THROW(attention(q, {keys}), Error);
  keys.mask = Tensor();
  keys.pages = {{KeyPage{at::zeros({2, 8, 16}), at::zeros({2, 8, 16}), 4, 5}}};
  EXPECT_THROW(attention(q, {keys}), Error);
}

}  // namespace
}  // namespace mneme
