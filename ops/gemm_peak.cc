#include "ops/gemm_peak.h"

#include <algorithm>
#include <chrono>

#include "ops/gemm_core.h"

namespace mneme::gemm {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double unit_peak(double seconds) {
  const Kernels& kernel = kernels();
  const int threads = max_threads();
  constexpr int64_t kProducts = 250'000'000;  // long enough that waking the threads does not count
  kernel.begin();
  const int64_t rounds = std::max<int64_t>(1, kProducts / kernel.spin(1));
  kernel.end();
  double best = 0;
  for (const double end = now() + seconds; best == 0 || now() < end;) {
    int64_t done = 0;
    const double start = now();
#pragma omp parallel num_threads(threads) reduction(+ : done)
    {
      kernel.begin();
      done += kernel.spin(rounds);
      kernel.end();
    }
    best = std::max(best, 2.0 * static_cast<double>(done) / (now() - start));
  }
  return best;
}

}  // namespace mneme::gemm
