// Associative recall with the memory on and three ways off: forgotten at every segment end, swapped between
// the documents of a batch, and taken from other documents altogether.
#pragma once

#include <string>
#include <vector>

#include "memory/model.h"
#include "tasks/associative_recall.h"

namespace mneme {

enum class MemoryUse { on, off, shuffled, foreign };
std::string memory_use_name(MemoryUse use);

struct Accuracy {
  int64_t right = 0, asked = 0;
  double value() const { return asked ? static_cast<double>(right) / static_cast<double>(asked) : 0; }
  // Wilson's interval at 95%.
  double low() const;
  double high() const;
};

struct RecallResult {
  Accuracy all;
  std::vector<Accuracy> by_distance;  // segments between the pairs and the question: 1, 2, ...
};

// `documents` documents of the task, in batches of `rows`, none of which a training with another seed has
// seen.
RecallResult evaluate_recall(const Model& model, const RecallTask& task, MemoryUse use, int64_t documents,
                             int64_t rows, uint64_t seed);

}  // namespace mneme
