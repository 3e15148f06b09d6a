// How fast attention is: prompts and training steps as TFLOP/s next to what the matrix unit does with
// operands in cache (causal FLOPs counted: 4 T^2 H K / 2 forward, 2.5 times that backward), decoding as GB/s
// of keys and values next to reading memory.
//
//   attention_bench [--threads N] [--seconds N] [--quick] [--cpu-time]     (MNEME_CPU lowers the level)
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/attention_impl.h"
#include "ops/cpu.h"

namespace {

using mneme::AttentionKernels;
using mneme::Keys;
using mneme::Tensor;

bool cpu_time = false;  // of one thread: steadier where others use the machine

double now() {
  if (cpu_time) {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double budget = 0.5;

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

// FLOP/s of the level's own product on operands in cache, on all threads.
double product_peak() {
  const Tensor q = at::zeros({1, 1, 1, 64}, at::kBFloat16);
  Keys keys;
  keys.k = keys.v = q;
  const std::vector<Keys> sources{keys};
  const AttentionKernels& kernels = *mneme::prepare_call(q, sources, {}).kernels;
  const int64_t words = kernels.pairs ? 128 : 256, rounds = kernels.pairs ? 2000 : 200;
  const double seconds = best_seconds([&] {
#pragma omp parallel num_threads(at::get_num_threads())
    {
      std::vector<uint32_t> a(static_cast<size_t>(32 * words)), b(static_cast<size_t>(32 * words));
      std::vector<float> c(32 * 32);
      kernels.begin();
      for (int64_t i = 0; i < rounds; ++i) {
        kernels.product(c.data(), 32, a.data(), words, b.data(), words, 32, 32, words);
      }
      kernels.end();
    }
  });
  return 2.0 * at::get_num_threads() * static_cast<double>(rounds) * 32 * 32 * 256 / seconds;
}

double read_bandwidth() {
  const Tensor data = at::ones({int64_t{64} << 20}, at::kFloat);
  return static_cast<double>(data.nbytes()) / best_seconds([&] { data.sum(); });
}

Tensor random_bf16(at::IntArrayRef shape) { return at::randn(shape, at::kFloat).to(at::kBFloat16); }

void prompt(int64_t rows, int64_t tokens, int64_t key_heads, double peak) {
  constexpr int64_t kHeads = 12, kWidth = 64;
  const Tensor q = random_bf16({rows, tokens, kHeads, kWidth});
  Keys keys;
  keys.k = random_bf16({rows, tokens, key_heads, kWidth});
  keys.v = random_bf16({rows, tokens, key_heads, kWidth});
  const double flops = 2.0 * static_cast<double>(rows * tokens * (tokens + 1) * kHeads * kWidth);
  const double forward = best_seconds([&] { mneme::attention(q, {keys}); });
  std::printf("%4ld x %4ld tokens, 12 heads, %2ld key heads: forward %6.2f ms %6.3f TFLOP/s %3.0f%%", rows,
              tokens, key_heads, forward * 1e3, flops / forward * 1e-12, flops / forward / peak * 100);
  Tensor lse;
  const Tensor out = mneme::attention(q, {keys}, {}, &lse), grad = random_bf16(out.sizes());
  const mneme::WantedGradients wanted{true, {true}, {true}, {true}};
  const double backward =
      best_seconds([&] { mneme::attention_backward(q, {keys}, {}, out, lse, grad, Tensor(), wanted); });
  std::printf("   backward %6.2f ms %6.3f TFLOP/s %3.0f%%\n", backward * 1e3, 2.5 * flops / backward * 1e-12,
              2.5 * flops / backward / peak * 100);
  std::fflush(stdout);
}

void decode(int64_t rows, int64_t queries, int64_t key_heads, int64_t total, double bandwidth) {
  constexpr int64_t kHeads = 12, kWidth = 64, kPage = 64;
  const Tensor q = random_bf16({rows, queries, kHeads, kWidth});
  Keys keys;
  keys.sight = mneme::Sight::causal;
  for (int64_t b = 0; b < rows; ++b) {
    const Tensor k = random_bf16({total / kPage, key_heads, kPage, kWidth}), v = at::randn_like(k);
    std::vector<mneme::KeyPage> pages;
    for (int64_t p = 0; p < total / kPage; ++p) pages.push_back({k[p], v[p], 0, kPage});
    keys.pages.push_back(pages);
  }
  const double bytes = 4.0 * static_cast<double>(rows * key_heads * kWidth * total);
  const double seconds = best_seconds([&] { mneme::attention(q, {keys}); });
  std::printf("%4ld x %2ld queries over %ld keys, %2ld key heads: %7.3f ms %5.1f GB/s %3.0f%%\n", rows,
              queries, total, key_heads, seconds * 1e3, bytes / seconds * 1e-9,
              bytes / seconds / bandwidth * 100);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  // Results come from memory that is kept: fresh pages would cost as much as the arithmetic.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  int threads = 2;
  bool quick = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--threads" && i + 1 < argc) threads = std::atoi(argv[++i]);
    if (flag == "--seconds" && i + 1 < argc) budget = std::atof(argv[++i]);
    if (flag == "--quick") quick = true;
    if (flag == "--cpu-time") cpu_time = true, threads = 1;
  }
  at::set_num_threads(threads);
  at::NoGradGuard no_grad;
  const double peak = product_peak(), bandwidth = read_bandwidth();
  std::printf("%s, %d threads: products %.2f TFLOP/s, memory read at %.1f GB/s\n",
              mneme::cpu_level_name(mneme::cpu_level()).c_str(), threads, peak * 1e-12, bandwidth * 1e-9);
  for (const int64_t key_heads : {4, 12}) {
    prompt(4, 512, key_heads, peak);
    if (!quick) prompt(1, 512, key_heads, peak);
    if (!quick) prompt(1, 2048, key_heads, peak);
    if (!quick) prompt(1, 4096, key_heads, peak);
  }
  for (const int64_t key_heads : {4, 12}) decode(1, 1, key_heads, 32768, bandwidth);
  if (!quick) decode(1, 4, 4, 32768, bandwidth);
  if (!quick) decode(1, 16, 4, 32768, bandwidth);
  if (!quick) decode(8, 1, 4, 4096, bandwidth);
  return 0;
}
