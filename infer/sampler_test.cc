#include "infer/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"

namespace mneme {
namespace {

const std::vector<float> kLogits = {0.0F, 2.0F, 1.0F, -1.0F};

std::set<int64_t> reachable(const SamplerOptions& o, const std::vector<int64_t>& history = {}) {
  std::set<int64_t> out;
  for (uint64_t i = 0; i < 400; ++i) {
    std::vector<float> z = kLogits;
    out.insert(draw_token(z, history, o,
                          {
                              .seed = 1,
                              .position = i,
                          })
                   .id);
  }
  return out;
}

TEST(Sampler, ZeroTemperatureTakesTheMostLikely) {
  std::vector<float> z = kLogits;
  const Drawn d = draw_token(z, {}, {}, {});
  EXPECT_EQ(d.id, 1);
  EXPECT_NEAR(d.logprob, 2 - std::log(1 + std::exp(2) + std::exp(1) + std::exp(-1)), 1e-6);
}

TEST(Sampler, TruncationsKeepWhatTheySay) {
  SamplerOptions o;
  o.temperature = 1;
  EXPECT_EQ(reachable(o).size(), 4U);
  o.top_k = 2;
  EXPECT_EQ(reachable(o), (std::set<int64_t>{1, 2}));
  o.top_k = 0;
  o.top_p = 0.6;
  EXPECT_EQ(reachable(o), (std::set<int64_t>{1}));
  o.top_p = 1;
  o.min_p = 0.3;
  EXPECT_EQ(reachable(o), (std::set<int64_t>{1, 2}));
  o.min_p = 0;
  o.suppress = {1, 0};
  EXPECT_EQ(reachable(o), (std::set<int64_t>{2, 3}));
}

TEST(Sampler, PenaltiesCountTheHistory) {
  SamplerOptions o;
  o.frequency_penalty = 0.6;
  std::vector<float> z = kLogits;
  EXPECT_EQ(draw_token(z, {1}, o, {}).id, 1);
  z = kLogits;
  EXPECT_EQ(draw_token(z, {1, 1}, o, {}).id, 2);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  SamplerOptions o;
  o.temperature = 1;
  int ones = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    std::vector<float> z = kLogits;
    ones += draw_token(z, {}, o, {.seed = 9, .position = i}).id == 1;
  }
  const double p = std::exp(2) / (1 + std::exp(2) + std::exp(1) + std::exp(-1));
  EXPECT_NEAR(ones / 20000.0, p, 5 * std::sqrt(p * (1 - p) / 20000));
}

TEST(Sampler, RefusesNonsense) {
  SamplerOptions o;
  o.top_p = 0;
  EXPECT_THROW(check_sampler(o), Error);
  std::vector<float> z = {1};
  o = {};
  o.suppress = {0};
  EXPECT_THROW(draw_token(z, {}, o, {}), Error);
}

}  // namespace
}  // namespace mneme
