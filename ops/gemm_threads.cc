#include "ops/gemm_threads.h"

#include <ATen/Parallel.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>

namespace mneme::gemm {
namespace {

constexpr int64_t kSerialWork = 1 << 16;  // multiply-adds under which threads cost more than they give

// How many parts to cut the blocks into, and the panels: the least time of the largest part.
void split(int64_t blocks, int64_t panels, int threads, Cost cost, int64_t& by_blocks, int64_t& by_panels) {
  double best = 1e300;
  for (int64_t r = 1; r <= threads; ++r) {
    const int64_t p = threads / r;
    const double found = cost((blocks + r - 1) / r, (panels + p - 1) / p);
    if (found < best) {
      best = found;
      by_blocks = r;
      by_panels = p;
    }
  }
}

}  // namespace

int max_threads() { return std::max(1, at::get_num_threads()); }

int64_t l2_bytes() {
  static const int64_t bytes = [] {
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return std::clamp<int64_t>(found > 0 ? found : 1 << 20, 1 << 18, 1 << 22);
  }();
  return bytes;
}

void share_out(int64_t work, int64_t blocks, int64_t panels, Cost cost,
               const std::function<void(Range, Range, int)>& run) {
  if (work < kSerialWork || omp_in_parallel() || max_threads() == 1) {
    return run({0, blocks}, {0, panels}, 0);
  }
#pragma omp parallel num_threads(max_threads())
  {
    const int thread = omp_get_thread_num();
    int64_t by_blocks = 1, by_panels = 1;
    split(blocks, panels, omp_get_num_threads(), cost, by_blocks, by_panels);
    if (thread < by_blocks * by_panels) {
      run(share(blocks, thread / by_panels, by_blocks), share(panels, thread % by_panels, by_panels), thread);
    }
  }
}

}  // namespace mneme::gemm
