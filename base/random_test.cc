#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "base/random_kernels.h"

namespace mneme {
namespace {

using testing::ElementsAre;

// The vectors published with the Random123 library (kat_vectors, philox4x32 10).
TEST(Random, PhiloxGivesThePublishedVectors) {
  EXPECT_THAT(philox({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Random, EveryCoordinateMatters) {
  std::set<uint64_t> seen;
  const Site a{1, 2, 3, 4, 5, Draw::init, 6};
  std::vector<Site> sites(8, a);
  sites[1].seed += uint64_t{1} << 40;
  sites[2].step += 1;
  sites[3].row += 1;
  sites[4].segment += 1;
  sites[5].layer += 1;
  sites[6].draw = Draw::sample;
  sites[7].position += uint64_t{1} << 40;
  for (const Site& s : sites) seen.insert(Random(s).bits64());
  EXPECT_EQ(seen.size(), sites.size());
  EXPECT_EQ(Random(a).bits64(), Random(a).bits64());
}

TEST(Random, ScalarStreamAndBulkWordsAreTheSameBlocks) {
  const Site site{7, 0, 0, 0, 0, Draw::other, 0};
  std::vector<uint32_t> bulk(64);
  fill_bits(site, bulk.data(), bulk.size());
  Random stream(site);
  for (int block = 0; block < 16; ++block) {
    for (int word = 0; word < 4; ++word) EXPECT_EQ(stream.bits(), bulk[16 * word + block]);
  }
}

// Pieces of any size at any place equal one long fill, also across the counter's 32-bit carry.
template <class T, class Fill>
void expect_pieces_equal(const Fill& fill) {
  for (const uint64_t start : {uint64_t{0}, (uint64_t{1} << 38) - 100}) {
    Site site{11, 1, 2, 3, 4, Draw::noise, start};
    std::vector<T> whole(50000), pieces(50000);
    fill(site, whole.data(), whole.size());
    size_t at = 0;
    for (size_t n = 1; at < pieces.size(); n = n * 3 + 1) {
      const size_t take = std::min(n, pieces.size() - at);
      site.position = start + at;
      fill(site, pieces.data() + at, take);
      at += take;
    }
    EXPECT_EQ(0, std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(T)));
  }
}

TEST(Random, FillsDoNotDependOnTheCut) {
  expect_pieces_equal<float>([](const Site& s, float* p, size_t n) { fill_uniform(s, p, n); });
  expect_pieces_equal<float>([](const Site& s, float* p, size_t n) { fill_normal(s, p, n, 1, 2); });
  expect_pieces_equal<uint32_t>([](const Site& s, uint32_t* p, size_t n) { fill_bits(s, p, n); });
  expect_pieces_equal<uint8_t>([](const Site& s, uint8_t* p, size_t n) { fill_keep(s, 0.9, p, n); });
}

#if defined(__x86_64__)
TEST(Random, InstructionSetsAgreeBitForBit) {
  using namespace random_internal;
  const Stream s{{1, 2}, {3, 4}};
  constexpr size_t kTiles = 500;
  const auto run = [&](const Kernels& k) {
    std::vector<float> normal(kTiles * kTileWords), uniform(kTiles * kTileWords);
    std::vector<uint8_t> keep(kTiles * kTileMask);
    k.normal(s, 9, kTiles, 0.5F, 0.02F, normal.data());
    k.uniform(s, 9, kTiles, uniform.data());
    k.keep(s, 9, kTiles, 60000, keep.data());
    std::string bytes(reinterpret_cast<const char*>(normal.data()), normal.size() * sizeof(float));
    bytes.append(reinterpret_cast<const char*>(uniform.data()), uniform.size() * sizeof(float));
    bytes.append(reinterpret_cast<const char*>(keep.data()), keep.size());
    return bytes;
  };
  const std::string base = run(kBaseKernels);
  if (__builtin_cpu_supports("avx2")) {
    EXPECT_TRUE(base == run(kAvx2Kernels));
  }
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    EXPECT_TRUE(base == run(kAvx512Kernels));
  }
}
#endif

TEST(Random, UniformHasTheRightMomentsAndRange) {
  std::vector<float> x(1 << 20);
  fill_uniform({3}, x.data(), x.size());
  double sum = 0, squares = 0;
  for (const float v : x) {
    ASSERT_TRUE(v >= 0 && v < 1);
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(x.size());
  EXPECT_NEAR(sum / n, 0.5, 5 * 0.2887 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * 0.298 / std::sqrt(n));
}

// Moments up to the fourth, correlation of neighbours and of the two halves of a pair, and the tails.
TEST(Random, NormalHasTheRightShape) {
  std::vector<float> x(1 << 20);
  fill_normal({5}, x.data(), x.size());
  const auto n = static_cast<double>(x.size());
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, near = 0, pair = 0;
  int64_t beyond1 = 0, beyond3 = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    ASSERT_TRUE(std::isfinite(v));
    m1 += v;
    m2 += v * v;
    m3 += v * v * v;
    m4 += v * v * v * v;
    near += v * x[(i + 1) % x.size()];
    pair += v * x[i ^ 16];
    beyond1 += std::abs(v) > 1;
    beyond3 += std::abs(v) > 3;
  }
  EXPECT_NEAR(m1 / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(near / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(pair / n, 0, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(beyond1 / n, 0.317311, 5 * std::sqrt(0.2166 / n));
  EXPECT_NEAR(beyond3 / n, 0.0026998, 5 * std::sqrt(0.00269 / n));
}

// Against the same construction in double precision.
TEST(Random, NormalFollowsBoxAndMuller) {
  std::vector<float> x(6400);
  std::vector<uint32_t> w(6400);
  fill_normal({8}, x.data(), x.size());
  fill_bits({8}, w.data(), w.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (i & 16) continue;
    const double u = ((w[i] >> 1) + 0.5) / 2147483648.0, angle = w[i | 16] / 4294967296.0 * 2 * M_PI;
    const double radius = std::sqrt(-2 * std::log(u));
    ASSERT_NEAR(x[i], radius * std::cos(angle), 2e-6);
    ASSERT_NEAR(x[i | 16], radius * std::sin(angle), 2e-6);
  }
}

TEST(Random, KeepKeepsTheShareAndItsEnds) {
  std::vector<uint8_t> mask(1 << 20);
  for (const double keep : {0.9, 0.5, 0.01}) {
    fill_keep({9}, keep, mask.data(), mask.size());
    const double share = std::accumulate(mask.begin(), mask.end(), 0.0) / static_cast<double>(mask.size());
    EXPECT_NEAR(share, keep, 5 * std::sqrt(keep * (1 - keep) / static_cast<double>(mask.size())) + 0x1p-16);
  }
  fill_keep({9}, 1.0, mask.data(), mask.size());
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), static_cast<int64_t>(mask.size()));
  fill_keep({9}, 0.0, mask.data(), mask.size());
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 0), static_cast<int64_t>(mask.size()));
}

TEST(Random, BelowIsUnbiasedAndInRange) {
  Random r({10});
  std::vector<int> count(7);
  for (int i = 0; i < 70000; ++i) ++count.at(r.below(7));
  for (const int c : count) EXPECT_NEAR(c, 10000, 5 * std::sqrt(10000.0));
  EXPECT_EQ(r.below(1), 0U);
  const uint64_t large = (uint64_t{3} << 62) + 1;
  for (int i = 0; i < 1000; ++i) EXPECT_LT(r.below(large), large);
  for (int i = 0; i < 1000; ++i) {
    const int64_t v = r.between(-3, 3);
    EXPECT_TRUE(v >= -3 && v <= 3);
  }
  EXPECT_EQ(r.between(INT64_MIN, INT64_MIN), INT64_MIN);
  r.between(INT64_MIN, INT64_MAX);
}

TEST(Random, ScalarNormalAndUniform) {
  Random r({12});
  double sum = 0, squares = 0, uniform = 0;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    const double v = r.normal();
    sum += v;
    squares += v * v;
    uniform += r.uniform();
  }
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(uniform / kCount, 0.5, 5 * 0.2887 / std::sqrt(kCount));
}

TEST(Random, ShuffleIsAPermutationAndRepeats) {
  std::vector<int> a(100), b;
  std::iota(a.begin(), a.end(), 0);
  b = a;
  const std::vector<int> sorted = a;
  Random({13}).shuffle(a);
  Random({13}).shuffle(b);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, sorted);
  EXPECT_TRUE(std::is_permutation(a.begin(), a.end(), sorted.begin()));
}

}  // namespace
}  // namespace mneme
