#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/attention_cases.h"
#include "ops/cpu.h"

namespace mneme {
namespace {

class AttentionKernels : public ::testing::TestWithParam<AttentionLevel> {};

std::vector<Keys> doubled(const std::vector<Keys>& sources) {
  std::vector<Keys> out = sources;
  for (Keys& keys : out) {
    for (Tensor* t : {&keys.q, &keys.k, &keys.v}) {
      if (t->defined()) *t = t->to(at::kDouble);
    }
  }
  return out;
}

// Against the largest finite number expected: scores with far ALiBi distances are large.
void expect_close(const Tensor& found, const Tensor& expected, double tolerance, const std::string& where) {
  const double size = expected.nan_to_num(0, 0, 0).abs().max().item<double>();
  EXPECT_LT(worst(found, expected), tolerance * std::max(1.0, size)) << where;
}

void expect_equal_to_reference(const AttentionCase& c, double tolerance, const std::string& where) {
  if (c.q.numel() == 0) return;
  Tensor lse, expected_lse;
  const Tensor out = attention(c.q, c.sources, c.options, &lse);
  const Tensor expected =
      attention_reference(c.q.to(at::kDouble), doubled(c.sources), c.options, &expected_lse);
  EXPECT_EQ(out.scalar_type(), c.q.scalar_type());
  expect_close(out, expected, tolerance, where);
  expect_close(lse, expected_lse, tolerance, where + " lse");
}

TEST_P(AttentionKernels, EqualTheReferenceInFp32) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 0; seed < 150; ++seed) {
    expect_equal_to_reference(CaseMaker(seed, at::kFloat).make(), 1e-5, "seed " + std::to_string(seed));
  }
}

TEST_P(AttentionKernels, EqualTheReferenceInBf16) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 1000; seed < 1150; ++seed) {
    expect_equal_to_reference(CaseMaker(seed, at::kBFloat16).make(), 1.2e-2, "seed " + std::to_string(seed));
  }
}

// More keys than a block, more queries than a set, splits by keys.
TEST_P(AttentionKernels, EqualTheReferenceOnLongCalls) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 0; seed < 12; ++seed) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const CaseLimits limits{.widths = {16, 32, 64, 72}, .rows = 2, .queries = 300, .keys = 700};
      expect_equal_to_reference(CaseMaker(seed, type, limits).make(), type == at::kFloat ? 1e-5 : 1.2e-2,
                                "seed " + std::to_string(seed));
    }
  }
}

// Few queries over long caches: keys read in place, split between items.
TEST_P(AttentionKernels, EqualTheReferenceWhenDecoding) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const CaseLimits limits{.widths = {32, 64, 96, 128}, .rows = 2, .queries = 4, .keys = 4000};
      expect_equal_to_reference(CaseMaker(seed, type, limits).make(), type == at::kFloat ? 1e-5 : 1.2e-2,
                                "seed " + std::to_string(seed));
    }
  }
}

// A bf16 cache under fp32 queries.
TEST_P(AttentionKernels, TakeMixedTypes) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (const int64_t queries : {1, 20}) {
    CaseMaker make(7, at::kBFloat16);
    AttentionCase c;
    c.q = make.normal({2, queries, 4, 64}).to(at::kFloat);
    Keys half, full;
    half.k = make.normal({2, 200, 2, 64});
    half.v = make.normal({2, 200, 2, 64});
    full.k = make.normal({2, 33, 2, 64}).to(at::kFloat);
    full.v = make.normal({2, 33, 2, 64}).to(at::kFloat);
    c.sources = {half, full};
    expect_equal_to_reference(c, 1e-5, "mixed");
  }
}

TEST_P(AttentionKernels, ReadNothingBehindARow) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t queries : {1, 40}) {
      const Tensor q = at::randn({1, queries, 2, 64}).to(type);
      Keys keys;
      keys.k = at::randn({1, 150, 2, 64}).to(type);
      keys.v = at::randn({1, 150, 2, 64}).to(type);
      keys.length = {131};
      const Tensor expected = attention(q, {keys});
      keys.k.narrow(1, 131, 19).fill_(std::nan(""));
      keys.v.narrow(1, 131, 19).fill_(std::nan(""));
      EXPECT_TRUE(attention(q, {keys}).equal(expected));
    }
  }
}

TEST_P(AttentionKernels, GiveARowTheSameBitsInAnyBatch) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Tensor q = at::randn({3, 70, 4, 64}).to(type);
    Keys keys;
    keys.k = at::randn({3, 3000, 2, 64}).to(type);
    keys.v = at::randn({3, 3000, 2, 64}).to(type);
    keys.length = {100, 3000, 1500};
    AttentionOptions options;
    options.query_count = {70, 1, 33};
    const Tensor together = attention(q, {keys}, options);
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t count = options.query_count[static_cast<size_t>(b)];
      Keys own = keys;
      own.length = {keys.length[static_cast<size_t>(b)]};
      own.k = keys.k.narrow(0, b, 1).narrow(1, 0, own.length[0]);
      own.v = keys.v.narrow(0, b, 1).narrow(1, 0, own.length[0]);
      const Tensor alone = attention(q.narrow(0, b, 1).narrow(1, 0, count), {own});
      EXPECT_TRUE(alone.equal(together.narrow(0, b, 1).narrow(1, 0, count))) << "row " << b;
    }
  }
}

TEST_P(AttentionKernels, ReadInOneCallAsTokenByToken) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  const Tensor q = at::randn({1, 50, 6, 64}), k = at::randn({1, 290, 2, 64}), v = at::randn({1, 290, 2, 64});
  Keys keys;
  keys.k = k, keys.v = v;
  const Tensor whole = attention(q, {keys});
  for (int64_t t = 0; t < 50; ++t) {
    Keys seen = keys;
    seen.k = k.narrow(1, 0, 241 + t);
    seen.v = v.narrow(1, 0, 241 + t);
    EXPECT_LT(worst(attention(q.narrow(1, t, 1), {seen}), whole.narrow(1, t, 1)), 1e-5);
  }
}

TEST_P(AttentionKernels, GiveTheSameBitsOnAnyNumberOfThreads) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  const int before = at::get_num_threads();
  for (const int64_t queries : {1, 200}) {
    const Tensor q = at::randn({2, queries, 4, 64}).to(at::kBFloat16);
    Keys keys;
    keys.k = at::randn({2, 4000, 2, 64}).to(at::kBFloat16);
    keys.v = at::randn({2, 4000, 2, 64}).to(at::kBFloat16);
    at::set_num_threads(1);
    const Tensor expected = attention(q, {keys});
    for (const int threads : {2, 3, 7}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(attention(q, {keys}).equal(expected)) << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

TEST_P(AttentionKernels, DropTheSameWeightsAsTheReference) {
  const ForceCpuLevel force(GetParam().level, GetParam().bf16);
  for (uint64_t seed = 300; seed < 330; ++seed) {
    AttentionCase c = CaseMaker(seed, at::kFloat).make();
    c.options.dropout = 0.3;
    c.options.site.seed = seed;
    expect_equal_to_reference(c, 1e-5, "seed " + std::to_string(seed));
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, AttentionKernels, ::testing::ValuesIn(attention_levels()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace mneme
