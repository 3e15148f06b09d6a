// How a product is shared out among the threads: C as a grid of parts, one a thread. Internal to ops/gemm*.cc
// and ops/sgemm*.cc.
//
// A part computes its block of C alone, over the whole depth, so the number of threads changes no sum.
#pragma once

#include <cstdint>
#include <functional>

namespace mneme::gemm {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part `part` of [0, count) cut into `parts` of sizes that differ by one at most.
inline Range share(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

int max_threads();

int64_t l2_bytes();  // of one core

// Time of a part of `tall` blocks by `wide` panels, in any unit.
using Cost = double (*)(int64_t tall, int64_t wide);

// Calls run(blocks, panels, thread) for the parts of a grid of blocks x panels: on one thread when `work`
// (multiply-adds) is too little to share, or when the caller is itself one of several threads.
void share_out(int64_t work, int64_t blocks, int64_t panels, Cost cost,
               const std::function<void(Range, Range, int)>& run);

}  // namespace mneme::gemm
