// How fast the matrix products are, next to libtorch's and to what the matrix unit can do with its operands
// in registers: the forward product, both gradients, and one row (decoding), for the shapes of small language
// models.
//
//   gemm_bench [--threads N] [--seconds N] [--quick] [products] [training] [head] [rows] [fp32]
// --quick leaves libtorch out; MNEME_CPU lowers the level.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ops/cpu.h"
#include "ops/cross_entropy.h"
#include "ops/gemm.h"
#include "ops/gemm_peak.h"
#include "ops/linear.h"
#include "ops/peak.h"
#include "ops/sgemm.h"

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

// A training step's view: the master weight in fp32 has just changed, forward and backward with both
// gradients.
void training(const Shape& s, double peak) {
  const at::AutoGradMode grad(true);
  const double flop = 6.0 * s.m * s.n * s.k;
  const Tensor x = at::randn({s.m, s.k}).to(at::kBFloat16).requires_grad_();
  const Tensor dy = at::randn({s.m, s.n}).to(at::kBFloat16);
  const mneme::Weight w(at::randn({s.n, s.k}).requires_grad_());
  const auto pass = [&](bool changed) {
    if (changed) w.value().unsafeGetTensorImpl()->bump_version();
    mneme::linear(x, w).backward(dy);
    x.mutable_grad() = w.value().mutable_grad() = Tensor();
  };
  const double kept = flop / best_seconds([&] { pass(false); });
  const double renewed = flop / best_seconds([&] { pass(true); });
  std::printf(
      "%5ld x %5ld -> %5ld   forward and backward %5.2f %4.0f%%, and repacking a changed weight %5.2f "
      "%4.0f%%\n",
      s.m, s.k, s.n, kept / 1e12, 100 * kept / peak, renewed / 1e12, 100 * renewed / peak);
}

void head(int64_t rows, int64_t width, int64_t vocabulary, double peak) {
  const at::AutoGradMode grad(true);
  const Tensor hidden = at::randn({rows, width}).to(at::kBFloat16).requires_grad_();
  const mneme::Weight w((at::randn({vocabulary, width}) * 0.02).requires_grad_());
  const Tensor targets = at::randint(vocabulary, {rows}, at::kLong);
  const double flop = 2.0 * rows * width * vocabulary;
  const double forward = best_seconds([&] {
    const at::NoGradGuard no_grad;
    mneme::head_cross_entropy(hidden, w, {}, targets);
  });
  const double both = best_seconds([&] {
    mneme::head_cross_entropy(hidden, w, {}, targets).loss.sum().backward();
    hidden.mutable_grad() = w.value().mutable_grad() = Tensor();
  });
  std::printf(
      "head loss, %ld rows, %ld -> %ld: forward %.1f ms (%.2f TFLOP/s, %.0f%%), and backward %.1f ms "
      "(%.2f)\n",
      rows, width, vocabulary, forward * 1e3, flop / forward / 1e12, 100 * flop / forward / peak, both * 1e3,
      4 * flop / both / 1e12);
}

// The products of a linear layer in fp32, y = x W^T, dx = dy W and dW = dy^T x, next to libtorch's (its
// BLAS).
void products_fp32(const Shape& s, double peak, bool quick) {
  const Tensor x = at::randn({s.m, s.k}), dy = at::randn({s.m, s.n}), w = at::randn({s.n, s.k});
  const std::pair<Tensor, Tensor> all[] = {{x, w.t()}, {dy, w}, {dy.t(), x}};
  std::printf("%5ld x %5ld -> %5ld ", s.m, s.k, s.n);
  for (const auto& [a, b] : all) {
    const double flop = 2.0 * s.m * s.n * s.k;
    const double ours = flop / best_seconds([&, &a = a, &b = b] { mneme::matrix_product(a, b); });
    const double theirs = quick ? 0 : flop / best_seconds([&, &a = a, &b = b] { at::mm(a, b); });
    std::printf("  %6.1f %4.0f%% %6.1f", ours / 1e9, 100 * ours / peak, theirs / 1e9);
  }
  std::printf("\n");
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

bool wanted(const std::vector<std::string>& sections, const char* name) {
  return sections.empty() || std::find(sections.begin(), sections.end(), name) != sections.end();
}

}  // namespace

int main(int argc, char** argv) {
  int threads = at::get_num_threads();
  bool quick = false;
  std::vector<std::string> sections;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--threads" && i + 1 < argc) {
      threads = std::max(1, std::atoi(argv[++i]));
    } else if (flag == "--seconds" && i + 1 < argc) {
      budget = std::atof(argv[++i]);
    } else if (flag == "--quick") {
      quick = true;
    } else {
      sections.push_back(flag);
    }
  }
  // Results of 32 MB and more would otherwise be mapped, and their pages zeroed, afresh in every run.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::set_num_threads(threads);
  at::NoGradGuard no_grad;
  const double peak = gemm::unit_peak(budget);
  std::printf("level %s, %d threads; arithmetic unit on registers: %.2f TFLOP/s\n", gemm::kernels().name,
              threads, peak / 1e12);
  if (wanted(sections, "products")) {
    std::printf(
        "rows x in -> out, TFLOP/s and share of that: forward, dx, dW; libtorch bf16, its dW, fp32\n");
    for (const int64_t m : {512, 2048}) {
      for (const Shape& s : {Shape{m, 768, 768}, Shape{m, 768, 2048}, Shape{m, 2048, 768},
                             Shape{m, 768, 8192}, Shape{m, 768, 32000}}) {
        products(s, peak, quick);
      }
    }
  }
  if (wanted(sections, "training")) {
    for (const Shape& s : {Shape{2048, 768, 768}, Shape{2048, 768, 2048}, Shape{2048, 2048, 768}}) {
      training(s, peak);
    }
  }
  if (wanted(sections, "head")) {
    head(2048, 768, 8192, peak);
    head(2048, 768, 32000, peak);
  }
  if (wanted(sections, "fp32")) {
    const double fp32 = mneme::peak_fp32().flops_per_second;
    std::printf(
        "fp32: rows x in -> out, GFLOP/s, share of the unit's %.1f, libtorch's GFLOP/s: forward, dx, dW\n",
        fp32 / 1e9);
    for (const Shape& s :
         {Shape{1, 768, 2048}, Shape{8, 768, 2048}, Shape{64, 48, 48}, Shape{128, 64, 65},
          Shape{256, 96, 288}, Shape{4096, 96, 96}, Shape{2048, 128, 384}, Shape{512, 768, 768},
          Shape{512, 768, 2048}, Shape{512, 2048, 768}, Shape{512, 768, 32000}}) {
      products_fp32(s, fp32, quick);
    }
  }
  if (wanted(sections, "rows")) {
    for (const int64_t m : {1, 4, 8}) {
      few_rows(m, 768, 2048, quick);
      few_rows(m, 768, 32000, quick);
    }
  }
}
