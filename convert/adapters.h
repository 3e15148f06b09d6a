// Adapters and whole models, file to file: merging an adapter into its base, and taking what a tuned model
// learned out again as an adapter of low rank. Running a model with an adapter beside it is model/adapter.h.
#pragma once

#include "convert/package.h"
#include "io/adapter.h"

namespace mneme {

// W + scale B A in fp32, rounded once to the base's type; whole tensors replace the base's. Rows for new
// tokens follow the vocabulary, whose size in the config grows with them.
void merge_adapter(Package& package, const Adapter& adapter);

struct SplitReport {
  int64_t modules = 0, whole = 0;
  double residual = 0;  // of the worst module: the share of the difference's norm that the rank leaves out
};
// The difference of two models as an adapter of the base: the best matrices of this rank (by singular values)
// for linear layers, and other tensors that differ as a whole.
Adapter split_adapter(const Package& tuned, const Package& base, int64_t rank, SplitReport& report);

}  // namespace mneme
