#include "ops/landmark_retrieval.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/landmark_reference.h"
#include "ops/landmark_retrieval_impl.h"

namespace mneme {
namespace {

std::vector<int32_t> pick(const std::vector<float>& scores, int64_t read, double eps) {
  std::vector<int32_t> out(static_cast<size_t>(read));
  landmark::Picker<float>().pick(scores.data(), static_cast<int64_t>(scores.size()), read, eps, out.data());
  return out;
}

TEST(LandmarkPicker, TakesTheBestInOrderOfTime) {
  EXPECT_EQ(pick({1, 5, 2, 4, 3}, 3, 1e-5), (std::vector<int32_t>{1, 3, 4}));
  EXPECT_EQ(pick({1, 5}, 0, 1e-5), (std::vector<int32_t>{}));
  EXPECT_EQ(pick({1, 5}, 2, 1e-5), (std::vector<int32_t>{0, 1}));
}

TEST(LandmarkPicker, PrefersTheMostRecentOfAChainOfTies) {
  EXPECT_EQ(pick({7, 7, 7, 7}, 2, 1e-5), (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(pick({7, 7, 9, 7}, 2, 0), (std::vector<int32_t>{2, 3}));
  // 1.00, 1.08, 1.16 are one cluster by a chain of steps below 0.1; 1.3 is above it.
  EXPECT_EQ(pick({1.08F, 1.3F, 1.16F, 1.0F, 0.5F}, 2, 0.1), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(pick({1.08F, 1.3F, 1.16F, 1.0F, 0.5F}, 3, 0.1), (std::vector<int32_t>{1, 2, 3}));
}

TEST(LandmarkPicker, SurvivesNumbersThatAreNone) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(pick({nan, 1, nan, -inf, 2}, 2, 1e-5), (std::vector<int32_t>{1, 4}));
  EXPECT_EQ(pick({nan, nan, nan}, 2, 1e-5), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(pick({inf, 0, inf}, 1, 1e-5), (std::vector<int32_t>{2}));
}

TEST(LandmarkSlots, KeepTheLatestBlocksApart) {
  // 6 blocks, 2 read: the latest two are scored from slots 1 and 2, the others from slot 0.
  const int64_t expected[] = {0, 0, 0, 0, 1, 2};
  for (int64_t rank = 0; rank < 6; ++rank) EXPECT_EQ(landmark_search_slot(rank, 6, 2, true), expected[rank]);
  EXPECT_EQ(landmark_search_slot(5, 6, 2, false), 1);
  EXPECT_EQ(landmark_read_slot(0, 3, 6, 2, true), 0);
  EXPECT_EQ(landmark_read_slot(0, 4, 6, 2, true), 1);
  EXPECT_EQ(landmark_read_slot(1, 5, 6, 2, true), 2);
  EXPECT_EQ(landmark_read_slot(1, 5, 6, 2, false), 1);
}

// What the rule says, by sorting.
std::vector<int32_t> pick_by_sorting(const std::vector<float>& x, size_t read, float eps) {
  std::vector<int32_t> order(x.size());
  for (size_t i = 0; i < x.size(); ++i) order[i] = static_cast<int32_t>(i);
  const auto at = [&](size_t i) { return x[static_cast<size_t>(order[i])]; };
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return x[static_cast<size_t>(a)] > x[static_cast<size_t>(b)]; });
  for (size_t begin = 0; begin < read;) {
    size_t end = begin + 1;
    while (end < order.size() && (at(end - 1) == at(end) || at(end - 1) - at(end) < eps)) ++end;
    const auto first = order.begin();
    std::sort(first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(end),
              std::greater<>());
    begin = end;
  }
  order.resize(read);
  std::sort(order.begin(), order.end());
  return order;
}

TEST(LandmarkPicker, AgreesWithSorting) {
  at::manual_seed(17);
  for (int round = 0; round < 300; ++round) {
    const int64_t n = 1 + round * 7 % 400, read = 1 + round % std::min<int64_t>(n, 9);
    // Steps from far below eps to far above it, rising, falling and mixed: chains of any length.
    const float step = std::vector<float>{0, 1e-3F, 0.02F, 0.3F}[static_cast<size_t>(round) % 4];
    Tensor x = at::randn({n}) * step;
    if (round % 5 == 1) x = at::arange(n).to(at::kFloat) * step;
    if (round % 5 == 2) x = -at::arange(n).to(at::kFloat) * step;
    if (round % 5 == 3) x = (x * 50).round() / 50;
    const std::vector<float> scores(x.data_ptr<float>(), x.data_ptr<float>() + n);
    EXPECT_EQ(pick(scores, read, 1e-2), pick_by_sorting(scores, static_cast<size_t>(read), 1e-2F)) << round;
  }
}

struct Store {
  Tensor queries, landmarks, local, lse;
  std::vector<LandmarkPage> pages;
  Store to(at::ScalarType type) const {
    Store out{queries.to(type), landmarks.to(type), local.to(type), lse.to(at::kFloat), {}};
    for (const LandmarkPage& page : pages) out.pages.push_back({page.k.to(type), page.v.to(type)});
    return out;
  }
};

Store make_store(int64_t T, int64_t H, int64_t G, int64_t K, int64_t f, int64_t N, int64_t k) {
  const auto type = at::TensorOptions(at::kDouble);
  Store out;
  out.queries = at::randn({T, H, std::min(k, N) + 1, K}, type);
  out.local = at::randn({T, H, K}, type);
  out.lse = at::randn({H, T}, type) + 2;
  for (int64_t n = 0; n < N; ++n) {
    out.pages.push_back({at::randn({G, f + 1, K}, type) * 1.5, at::randn({G, f + 1, K}, type)});
  }
  std::vector<Tensor> marks;
  for (const LandmarkPage& page : out.pages) marks.push_back(page.k.select(1, f));
  out.landmarks = N ? at::stack(marks, 1) : at::zeros({G, 0, K}, type);
  return out;
}

struct Case {
  const char* name;
  int64_t T, H, G, K, f, N, k;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
std::string name_of(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

class LandmarkRetrieval : public ::testing::TestWithParam<Case> {};

double error_of(const Tensor& found, const Tensor& expected) {
  return (found.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

TEST_P(LandmarkRetrieval, AgreesWithTheReferenceAtEveryLevel) {
  const Case c = GetParam();
  at::manual_seed(11);
  const Store exact = make_store(c.T, c.H, c.G, c.K, c.f, c.N, c.k);
  for (const LandmarkPick how :
       {LandmarkPick::per_token_and_head, LandmarkPick::max_over_heads, LandmarkPick::max_over_tokens}) {
    LandmarkSearch search;
    search.k = c.k;
    search.pick = how;
    search.latest_shifted = c.N > c.k;
    Tensor logs, merged;
    const Tensor selected = landmark_search_reference(exact.queries, {exact.landmarks}, search, &logs);
    const Tensor out = landmark_recall_reference(exact.queries, exact.pages, selected, exact.local, exact.lse,
                                                 search, &merged);
    for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
      if (level > cpu_level_available()) continue;
      SCOPED_TRACE(cpu_level_name(level));
      const ForceCpuLevel force(level);
      const Store single = exact.to(at::kFloat);
      Tensor found_logs, found_merged;
      const Tensor found = landmark_search(single.queries, {single.landmarks}, search, &found_logs);
      EXPECT_LE(error_of(found_logs, logs), 1e-4);
      EXPECT_TRUE(at::equal(found, selected));  // random scores have no near ties
      EXPECT_LE(error_of(landmark_recall(single.queries, single.pages, selected, single.local, single.lse,
                                         search, &found_merged),
                         out),
                1e-4);
      EXPECT_LE(error_of(found_merged, merged), 1e-4);
      const Store half = exact.to(at::kBFloat16);
      EXPECT_LE(
          error_of(landmark_recall(half.queries, half.pages, selected, half.local, half.lse, search), out),
          0.1);
      EXPECT_LE(error_of(landmark_recall(half.queries, half.pages, selected, half.local, half.lse, search),
                         landmark_recall_reference(half.queries, half.pages, selected, half.local, half.lse,
                                                   search)),
                0.04);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Stores, LandmarkRetrieval,
    ::testing::Values(Case{"chunk", 45, 4, 2, 64, 50, 13, 3}, Case{"decode", 1, 8, 2, 64, 50, 40, 5},
                      Case{"narrow", 7, 2, 2, 24, 5, 6, 2}, Case{"all", 5, 2, 1, 32, 9, 3, 4},
                      Case{"many_heads", 3, 40, 1, 32, 7, 9, 2}, Case{"long_blocks", 2, 2, 2, 32, 300, 4, 2}),
    name_of);

// The windows of the definition: what is retrieved, put in front of the local keys, is one landmark
// attention.
TEST(LandmarkRecall, EqualsAttentionOverBlocksInFrontOfTheWindow) {
  at::manual_seed(12);
  const int64_t T = 6, H = 2, G = 1, K = 16, f = 4, N = 5, k = 2, S = 9;
  Store store = make_store(T, H, G, K, f, N, k);
  // Without positions all slots hold the same query.
  const Tensor q = at::randn({T, H, K}, at::kDouble);
  store.queries = q.unsqueeze(2).expand({T, H, k + 1, K}).contiguous();
  LandmarkKeys window{at::randn({1, S, G, K}, at::kDouble),
                      at::randn({1, S, G, K}, at::kDouble),
                      at::zeros({1, S}, at::kBool),
                      {}};
  window.is_landmark[0][4] = true;
  Tensor lse;
  const Tensor local = landmark_attention_reference(q.unsqueeze(0), window, {}, &lse);
  LandmarkSearch search;
  search.k = k;
  const Tensor selected = landmark_search_reference(store.queries, {store.landmarks}, search);
  const Tensor out = landmark_recall_reference(store.queries, store.pages, selected, local[0],
                                               lse[0].to(at::kDouble), search);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t h = 0; h < H; ++h) {
      std::vector<Tensor> k_parts, v_parts;
      for (int64_t n = 0; n < k; ++n) {
        const LandmarkPage& page = store.pages[static_cast<size_t>(selected[t][h][n].item<int>())];
        k_parts.push_back(page.k[0]);
        v_parts.push_back(page.v[0]);
      }
      const int64_t end = S - T + t + 1;
      k_parts.push_back(window.k[0].select(1, 0).slice(0, 0, end));
      v_parts.push_back(window.v[0].select(1, 0).slice(0, 0, end));
      LandmarkKeys all{at::cat(k_parts).unsqueeze(0).unsqueeze(2),
                       at::cat(v_parts).unsqueeze(0).unsqueeze(2),
                       at::zeros({1, k * (f + 1) + end}, at::kBool),
                       {}};
      for (int64_t n = 0; n < k; ++n) all.is_landmark[0][n * (f + 1) + f] = true;
      if (end > 4) all.is_landmark[0][k * (f + 1) + 4] = true;
      const Tensor expected = landmark_attention_reference(q[t][h].view({1, 1, 1, K}), all);
      EXPECT_LE(error_of(out[t][h], expected.view({K})), 1e-6) << t << " " << h;  // lse is fp32
    }
  }
}

TEST(LandmarkRecall, OfNothingIsTheWindow) {
  Store store = make_store(3, 2, 2, 32, 4, 0, 2).to(at::kFloat);
  LandmarkSearch search;
  search.k = 2;
  const Tensor selected = landmark_search(store.queries, {store.landmarks}, search);
  EXPECT_EQ(selected.sizes(), at::IntArrayRef({3, 2, 0}));
  EXPECT_TRUE(
      at::equal(landmark_recall(store.queries, {}, selected, store.local, store.lse, search), store.local));
}

TEST(LandmarkRecall, BitsDoNotDependOnThreads) {
  at::manual_seed(13);
  const Store store = make_store(40, 4, 2, 64, 20, 30, 4).to(at::kBFloat16);
  LandmarkSearch search;
  const int threads = at::get_num_threads();
  std::vector<Tensor> results;
  for (const int n : {1, 3}) {
    at::set_num_threads(n);
    const Tensor selected = landmark_search(store.queries, {store.landmarks}, search);
    results.push_back(landmark_recall(store.queries, store.pages, selected, store.local, store.lse, search));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(results[0], results[1]));
}

// Decoding reads landmarks in place, a window packs them; parts of the store change nothing.
TEST(LandmarkSearch, OneQueryFindsWhatTheWindowFinds) {
  at::manual_seed(14);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Store store = make_store(20, 4, 2, 64, 3, 90, 4).to(type);
    LandmarkSearch search;
    search.k = 4;
    const Tensor all = landmark_search(store.queries, {store.landmarks}, search);
    const std::vector<Tensor> parts = {store.landmarks.narrow(1, 0, 13), store.landmarks.narrow(1, 13, 70),
                                       store.landmarks.narrow(1, 83, 7)};
    EXPECT_TRUE(all.equal(landmark_search(store.queries, parts, search)));
    for (int64_t t = 0; t < 20; ++t) {
      EXPECT_TRUE(all[t].equal(landmark_search(store.queries.narrow(0, t, 1), parts, search)[0])) << t;
    }
  }
}

TEST(LandmarkRecall, ReleasesPagesAsItGoes) {
  at::manual_seed(15);
  const Store store = make_store(30, 4, 2, 64, 20, 30, 4).to(at::kFloat);
  LandmarkSearch search;
  const Tensor selected = landmark_search(store.queries, {store.landmarks}, search);
  LandmarkPages pages = store.pages;
  const Tensor expected = landmark_recall(store.queries, pages, selected, store.local, store.lse, search);
  int64_t calls = 0;
  pages.release = [&] { ++calls; };
  pages.together = 1 << 19;
  EXPECT_TRUE(
      expected.equal(landmark_recall(store.queries, pages, selected, store.local, store.lse, search)));
  EXPECT_GT(calls, 5);
}

TEST(LandmarkRecall, RefusesWhatDoesNotFit) {
  const Store store = make_store(3, 4, 2, 32, 4, 6, 2);
  LandmarkSearch search;
  search.k = 2;
  const Tensor selected = landmark_search(store.queries, {store.landmarks}, search);
  EXPECT_THROW(landmark_search(store.queries.slice(2, 1), {store.landmarks}, search), Error);
  EXPECT_THROW(landmark_search(store.queries, {store.landmarks.to(at::kFloat)}, search), Error);
  auto recall = [&](const std::vector<LandmarkPage>& pages, const Tensor& chosen) {
    return landmark_recall(store.queries, pages, chosen, store.local, store.lse, search);
  };
  EXPECT_THROW(recall(store.pages, selected + 6), Error);
  EXPECT_THROW(recall(store.pages, selected.to(at::kLong)), Error);
  std::vector<LandmarkPage> uneven = store.pages;
  uneven[1].v = uneven[1].v.slice(1, 1);
  EXPECT_THROW(recall(uneven, selected), Error);
}

}  // namespace
}  // namespace mneme
