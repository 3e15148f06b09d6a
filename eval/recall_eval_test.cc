#include "eval/recall_eval.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "memory/model_folder.h"

namespace mneme {
namespace {

TEST(RecallEval, AnUntrainedModelIsAtChanceAndCountsEveryQuestion) {
  RecallTask task;
  task.segment = 12;
  task.segments = 4;
  task.pairs = 2;
  task.keys = task.values = 8;
  MemoryOptions memory;
  memory.method = "rmt";
  memory.rmt = {12, 2};
  const Model model = fresh_model("configs/models/recall-llama.json", memory, 1);
  for (const MemoryUse use : {MemoryUse::on, MemoryUse::off, MemoryUse::shuffled, MemoryUse::foreign}) {
    const RecallResult r = evaluate_recall(model, task, use, 20, 10, 5);
    EXPECT_EQ(r.all.asked, 20 * 3 * task.queries) << memory_use_name(use);
    EXPECT_LT(r.all.low(), 0.25);
  }
  EXPECT_EQ(evaluate_recall(model, task, MemoryUse::shuffled, 7, 3, 5).all.asked, 7 * 3 * task.queries);
  EXPECT_THROW(evaluate_recall(model, task, MemoryUse::on, 4, 1, 5), Error);
  EXPECT_THROW(evaluate_recall(model, task, MemoryUse::on, 1, 3, 5), Error);
}

TEST(RecallEval, SpreadPairsAreCountedByTheirDistance) {
  RecallTask task;
  task.layout = "spread";
  task.segment = 24;
  task.segments = 5;
  task.nearest = 0;
  task.farthest = 3;
  MemoryOptions memory;
  memory.method = "rmt";
  memory.rmt = {24, 2};
  const Model model = fresh_model("configs/models/recall-llama.json", memory, 1);
  const RecallResult r = evaluate_recall(model, task, MemoryUse::on, 20, 10, 5);
  EXPECT_EQ(r.all.asked, 20 * task.pairs);
  for (size_t d = 0; d < 4; ++d) EXPECT_GT(r.by_distance[d].asked, 0) << d;
  EXPECT_EQ(r.by_distance[4].asked, 0);
}

}  // namespace
}  // namespace mneme
