// What cross entropy does with a 32 x 32 block of logits while it is in L1, for one instruction set each
// (cross_entropy_{baseline,avx2,avx512}.cc). Internal to ops/cross_entropy*.cc.
#pragma once

#include <cstdint>

namespace mneme {

// Of a row, 16 greatest values and 16 sums of exp(z - greatest), lane by lane: joined only at the end.
constexpr int64_t kFoldLanes = 16, kFoldState = 2 * kFoldLanes;
constexpr float kFoldLowest = -3.0e38f;

struct LogitBlock {
  const float* z;         // [32][32]
  int64_t rows, columns;  // that count
  const float* bias;      // [columns] or null
};

struct CrossEntropyKernels {
  // Takes the block into the states of its rows, [rows][kFoldState].
  void (*fold)(const LogitBlock& block, float* state);
  // out[r][n] = (exp(z - lse[r]) - [n == target[r]]) * scale[r] in bf16; target counts from the block's first
  // column.
  void (*gradient)(const LogitBlock& block, const float* lse, const float* scale, const int64_t* target,
                   int64_t column, uint16_t* out, int64_t stride);
};

extern const CrossEntropyKernels kCrossEntropyBaseline, kCrossEntropyAvx2, kCrossEntropyAvx512;

// The table for the level in force.
const CrossEntropyKernels& cross_entropy_kernels();

}  // namespace mneme
