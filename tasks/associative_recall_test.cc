#include "tasks/associative_recall.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace mneme {
namespace {

TEST(AssociativeRecall, EveryQuestionIsAnsweredByTheFirstSegment) {
  RecallTask task;
  task.segments = 9;
  check_task(task);
  for (uint64_t index = 0; index < 20; ++index) {
    const RecallDocument d = recall_document(task, 3, index);
    ASSERT_EQ(d.ids.size(), static_cast<size_t>(task.segment * task.segments));
    std::map<int64_t, int64_t> pairs;
    for (int64_t i = 0; i < task.pairs; ++i)
      pairs[d.ids[static_cast<size_t>(2 * i)]] = d.ids[static_cast<size_t>(2 * i + 1)];
    ASSERT_EQ(pairs.size(), static_cast<size_t>(task.pairs));
    int64_t asked = 0;
    for (size_t i = 0; i < d.ids.size(); ++i) {
      ASSERT_LT(d.ids[i], task.vocabulary());
      if (d.labels[i] < 0) continue;
      ++asked;
      EXPECT_EQ(d.labels[i], pairs.at(d.ids[i]));
      EXPECT_EQ(d.labels[i], d.ids[i + 1]);
      EXPECT_GE(i, static_cast<size_t>(task.segment));
    }
    EXPECT_EQ(asked, (task.segments - 1) * task.queries);
  }
}

TEST(AssociativeRecall, IsAFunctionOfSeedAndIndex) {
  const RecallTask task;
  EXPECT_EQ(recall_document(task, 1, 5).ids, recall_document(task, 1, 5).ids);
  EXPECT_NE(recall_document(task, 1, 5).ids, recall_document(task, 1, 6).ids);
}

TEST(AssociativeRecall, RefusesWhatDoesNotFit) {
  RecallTask task;
  task.pairs = 17;
  EXPECT_THROW(check_task(task), Error);
  task.pairs = 4;
  task.queries = 11;
  EXPECT_THROW(check_task(task), Error);
}

}  // namespace
}  // namespace mneme
