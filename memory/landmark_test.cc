// What the laws do not say of landmarks: windows that read every earlier block equal one window over the
// whole text, blocks in a file equal blocks in memory, and training reads a text at once.
#include "memory/landmark.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "base/error.h"
#include "memory/law_cases.h"
#include "memory/original_config.h"

namespace mneme {
namespace {

Model model_with(const std::function<void(LandmarkMemoryOptions&)>& change,
                 at::ScalarType type = at::kDouble) {
  LawCase c{"landmark", {}, true};
  c.options.method = "landmark";
  c.options.landmark.block = 4;
  c.options.landmark.segment = 9;
  change(c.options.landmark);
  return law_model(c, type);
}

Tensor read_whole(const Model& model, const Tensor& ids) {
  const at::NoGradGuard no_grad;
  Batch batch;
  batch.ids = ids;
  State state = model.initial(ids.size(0));
  return read(model, batch, state).hidden;
}

double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(Landmark, ReadingEveryBlockIsReadingInOneWindow) {
  for (const bool miss : {false, true}) {
    const Tensor ids = law_text(2, 70, 31);
    const auto windows = model_with([&](LandmarkMemoryOptions& o) {
      o.retrieve = 100;
      o.landmark_predicts = miss;
    });
    const auto one = model_with([&](LandmarkMemoryOptions& o) {
      o.segment = 1000;
      o.landmark_predicts = miss;
    });
    EXPECT_LT(distance(read_whole(windows, ids), read_whole(one, ids)), 1e-9);
    // It matters: without them the result is another.
    const auto alone = model_with([&](LandmarkMemoryOptions& o) {
      o.retrieve = 0;
      o.landmark_predicts = miss;
    });
    EXPECT_GT(distance(read_whole(alone, ids), read_whole(one, ids)), 1e-3);
  }
}

TEST(Landmark, TheFloatPathAgreesWithDouble) {
  const Tensor ids = law_text(2, 70, 32);
  const auto change = [](LandmarkMemoryOptions& o) { o.retrieve = 100; };  // no choice that could flip
  EXPECT_LT(distance(read_whole(model_with(change, at::kFloat), ids).to(at::kDouble),
                     read_whole(model_with(change), ids)),
            2e-4);
}

TEST(Landmark, BlocksInAFileEqualBlocksInMemory) {
  const Tensor ids = law_text(2, 120, 33);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const Tensor expected = read_whole(model_with([](LandmarkMemoryOptions&) {}, type), ids);
    for (const int64_t resident : {1, 2000, 20000}) {
      const auto model = model_with([&](LandmarkMemoryOptions& o) { o.resident = resident; }, type);
      EXPECT_TRUE(read_whole(model, ids).equal(expected)) << resident;
    }
  }
  EXPECT_THROW(read_whole(model_with([](LandmarkMemoryOptions& o) {
                            o.resident = 1;
                            o.spill = "/nowhere/at/all";
                          }),
                          ids),
               Error);
}

TEST(Landmark, TrainingReadsATextInOneWindow) {
  const auto train = model_with([](LandmarkMemoryOptions& o) { o.random_phase = false; });
  const auto one = model_with([](LandmarkMemoryOptions& o) { o.segment = 1000; });
  const Tensor ids = law_text(2, 30, 34);
  const Draws draws{{.seed = 5, .step = 3}, {}, {}};
  ReadOptions options;
  options.draws = &draws;
  Batch batch;
  batch.ids = ids;
  batch.count = {30, 22};
  State state = train.initial(2);
  const Tensor hidden = read(train, batch, state, options).hidden.detach();
  const Tensor expected = read_whole(one, ids);
  EXPECT_LT(distance(hidden[0], expected[0]), 1e-9);
  EXPECT_LT(distance(hidden[1].narrow(0, 0, 22), expected[1].narrow(0, 0, 22)), 1e-9);
  EXPECT_EQ(hidden[1].narrow(0, 22, 8).abs().max().item<double>(), 0);
  EXPECT_EQ(state.rows[1].position, 22);
  EXPECT_THROW(read(train, batch, state, options), Error);  // nothing was kept
}

TEST(Landmark, TrainingTextsBeginAnywhereInABlock) {
  const auto model = model_with([](LandmarkMemoryOptions&) {});
  const Tensor ids = law_text(1, 30, 35);
  std::set<std::vector<double>> seen;
  for (uint64_t step = 0; step < 30; ++step) {
    const Draws draws{{.seed = 1, .step = step}, {}, {}};
    ReadOptions options;
    options.draws = &draws;
    Batch batch;
    batch.ids = ids;
    State state = model.initial(1), again = model.initial(1);
    const Tensor hidden = read(model, batch, state, options).hidden.detach();
    EXPECT_TRUE(hidden.equal(read(model, batch, again, options).hidden.detach()));
    const Tensor last = hidden[0][29].contiguous();
    seen.emplace(last.data_ptr<double>(), last.data_ptr<double>() + last.numel());
  }
  EXPECT_EQ(seen.size(), 4U);  // as many as a block has tokens
}

TEST(Landmark, ALandmarkInTheTextIsRefused) {
  const auto model = model_with([](LandmarkMemoryOptions& o) { o.id = 28; });
  EXPECT_EQ(model.memory->unspoken(), std::vector<int64_t>{28});
  Tensor ids = law_text(1, 20, 36).clamp_max(27);
  read_whole(model, ids);
  ids[0][7] = 28;
  EXPECT_THROW(read_whole(model, ids), Error);
}

TEST(Landmark, OptionsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(model_with([](LandmarkMemoryOptions& o) { o.id = 29; }), Error);
  EXPECT_THROW(model_with([](LandmarkMemoryOptions& o) { o.miss_cutoff = 0.2; }), Error);
  EXPECT_THROW(model_with([](LandmarkMemoryOptions& o) { o.softmax = "plain"; }), Error);
  EXPECT_THROW(model_with([](LandmarkMemoryOptions& o) { o.segment = 0; }), Error);
}

TEST(Landmark, OriginalConfigurations) {
  const auto llama = from_original_config({{"method", "landmark"},
                                           {"variant", "llama"},
                                           {"mem_id", 32001},
                                           {"mem_freq", 50},
                                           {"cache_top_k", 5},
                                           {"train_context_length", 512}});
  EXPECT_EQ(llama.landmark.segment, 200);  // windows of 204 slots
  EXPECT_TRUE(llama.landmark.landmark_predicts);
  EXPECT_EQ(llama.landmark.id, 32001);
  const auto xl = from_original_config({{"method", "landmark"}, {"lm_cache", "kv"}, {"mem_cache_size", 12}});
  EXPECT_EQ(xl.method, "xl");
  EXPECT_EQ(xl.xl.cache, 12);
  EXPECT_THROW(from_original_config({{"method", "landmark"}, {"softmax_func", "mem"}}), Error);
  EXPECT_THROW(from_original_config({{"method", "landmark"}, {"parity_padded_blocks", true}}), Error);
}

}  // namespace
}  // namespace mneme
