// Associative recall with the memory on and three ways off: forgotten at every segment end, swapped between
// the documents of a batch, and taken from other documents altogether.
#pragma once

#include <vector>

#include "eval/intervals.h"
#include "eval/memory_use.h"
#include "tasks/associative_recall.h"

namespace mneme {

struct RecallResult {
  Accuracy all;
  std::vector<Accuracy> by_distance;  // segments between the pair and the question: 0, 1, ...
};

// `documents` documents of the task, in batches of `most` or one more, none of which a training with another
// seed has seen.
RecallResult evaluate_recall(const Model& model, const RecallTask& task, MemoryUse use, int64_t documents,
                             int64_t most, uint64_t seed);

}  // namespace mneme
