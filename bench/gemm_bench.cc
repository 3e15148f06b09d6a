// How fast the matrix products are, next to libtorch's and to what the matrix unit can do with its operands
// in registers: the forward product, both gradients, and one row (decoding), for the shapes of small language
// models.
//
//   gemm_bench [--threads N] [--seconds N] [--quick]     (MNEME_CPU lowers the level)
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ops/cpu.h"
#include "ops/gemm.h"
#include "ops/linear.h"

namespace {

using mneme::Tensor;
namespace gemm = mneme::gemm;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double budget = 0.3;

// Seconds of the best of many runs: others may be using the machine.
double best_seconds(const std::function<void()>& run) {
  run();
  double best = 1e30;
  const double end = now() + budget;
  for (int i = 0; i < 5 || now() < end; ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

// Multiply-adds of the level's own inner kernel on one block that stays in L1, on all threads.
double kernel_peak() {
  const gemm::Kernels& kernel = gemm::kernels();
  constexpr int64_t kSteps = 4;
  const int64_t rounds = mneme::cpu_level() == mneme::CpuLevel::amx ? 20000 : 500;
  const int threads = gemm::max_threads();
  const double seconds = best_seconds([&] {
#pragma omp parallel num_threads(threads)
    {
      alignas(64) static thread_local gemm::Bf16 a[kSteps * gemm::kStep], b[kSteps * gemm::kStep];
      alignas(64) static thread_local float c[gemm::kTileFloats];
      kernel.begin();
      for (int64_t i = 0; i < rounds; ++i) kernel.block(a, b, c, kSteps, true, {});
      kernel.end();
    }
  });
  return 2.0 * threads * rounds * kSteps * 32 * 32 * 32 / seconds;
}

struct Shape {
  int64_t m, k, n;
};

void products(const Shape& s, double peak, bool quick) {
  const double flop = 2.0 * s.m * s.n * s.k;
  const Tensor x = at::randn({s.m, s.k}).to(at::kBFloat16), dy = at::randn({s.m, s.n}).to(at::kBFloat16);
  const Tensor w = at::randn({s.n, s.k}), w16 = w.to(at::kBFloat16), x32 = x.to(at::kFloat);
  const auto rows = gemm::PackedMatrix::of_rows(w), columns = gemm::PackedMatrix::of_columns(w);
  const double forward = flop / best_seconds([&] { gemm::product(x, *rows); });
  const double dx = flop / best_seconds([&] { gemm::product(dy, *columns); });
  const double dw = flop / best_seconds([&] { gemm::transposed_product(dy, x); });
  const double theirs = quick ? 0 : flop / best_seconds([&] { at::linear(x, w16); });
  const double theirs_dw = quick ? 0 : flop / best_seconds([&] { at::matmul(dy.t(), x); });
  const double theirs_f32 = quick ? 0 : flop / best_seconds([&] { at::linear(x32, w); });
  std::printf("%5ld x %5ld -> %5ld   %5.2f %4.0f%%   %5.2f %4.0f%%   %5.2f %4.0f%%   %9.2f %9.2f %9.2f\n",
              s.m, s.k, s.n, forward / 1e12, 100 * forward / peak, dx / 1e12, 100 * dx / peak, dw / 1e12,
              100 * dw / peak, theirs / 1e12, theirs_dw / 1e12, theirs_f32 / 1e12);
}

// Enough different matrices that none is in a cache when its turn comes.
void few_rows(int64_t m, int64_t k, int64_t n, bool quick) {
  const int64_t bytes = k * n * 2, count = std::max<int64_t>(1, (int64_t{1} << 30) / bytes);
  std::vector<mneme::Weight> ours;
  std::vector<Tensor> theirs;
  for (int64_t i = 0; i < count; ++i) {
    theirs.push_back(at::ones({n, k}, at::kBFloat16));
    ours.emplace_back(theirs.back());
    ours.back().pack();
  }
  const Tensor x = at::randn({m, k}).to(at::kBFloat16);
  const double total = static_cast<double>(bytes * count);
  const double rate = total / best_seconds([&] {
                        for (const auto& w : ours) mneme::linear(x, w);
                      });
  const double rival = quick ? 0 : total / best_seconds([&] {
                                     for (const auto& w : theirs) at::linear(x, w);
                                   });
  std::printf("%ld x %5ld -> %5ld   %6.1f GB/s   libtorch bf16 %6.1f GB/s\n", m, k, n, rate / 1e9,
              rival / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = at::get_num_threads();
  bool quick = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--threads" && i + 1 < argc) threads = std::max(1, std::atoi(argv[++i]));
    if (flag == "--seconds" && i + 1 < argc) budget = std::atof(argv[++i]);
    if (flag == "--quick") quick = true;
  }
  // Results of 32 MB and more would otherwise be mapped, and their pages zeroed, afresh in every run.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::set_num_threads(threads);
  at::NoGradGuard no_grad;
  const double peak = kernel_peak();
  std::printf("level %s, %d threads; inner kernel on operands in L1: %.2f TFLOP/s\n", gemm::kernels().name,
              threads, peak / 1e12);
  std::printf("rows x in -> out, TFLOP/s and share of that: forward, dx, dW; libtorch bf16, its dW, fp32\n");
  for (const int64_t m : {512, 2048}) {
    for (const Shape& s : {Shape{m, 768, 768}, Shape{m, 768, 2048}, Shape{m, 2048, 768}, Shape{m, 768, 8192},
                           Shape{m, 768, 32000}}) {
      products(s, peak, quick);
    }
  }
  for (const int64_t m : {1, 4, 8}) {
    few_rows(m, 768, 2048, quick);
    few_rows(m, 768, 32000, quick);
  }
}
