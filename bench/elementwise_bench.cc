// Bytes a second of the elementwise operations, as a share of a plain copy's, and their speed next to
// libtorch's own operations. Each is bound by memory when its tensors do not fit the caches ("large");
// "small" is a batch of the size that stays in them between two operations.
//
//   elementwise_bench [--threads N] [--seconds N]     (MNEME_CPU lowers the level)
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ops/activation_impl.h"
#include "ops/adamw.h"
#include "ops/cpu.h"
#include "ops/dropout.h"
#include "ops/norm.h"
#include "ops/norm_impl.h"
#include "ops/rotary.h"
#include "tensor/threads.h"

namespace {

using namespace mneme;

double budget = 0.3;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

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

struct Bench {
  int64_t rows, width;  // of the activations
  double copy = 0;      // bytes a second

  Tensor random(at::ScalarType type) const { return at::randn({rows, width}).to(type); }

  // `bytes` an element, read and written; `theirs` may be empty.
  void line(const std::string& name, double bytes, const std::function<void()>& ours,
            const std::function<void()>& theirs = {}) const {
    const double total = bytes * static_cast<double>(rows * width), seconds = best_seconds(ours);
    std::printf("  %-34s %7.1f GB/s %5.0f%% of copy", name.c_str(), total / seconds / 1e9,
                100 * total / seconds / copy);
    if (theirs) std::printf("   %5.1f x libtorch", best_seconds(theirs) / seconds);
    std::printf("\n");
    std::fflush(stdout);
  }

  void measure_copy() {
    const Tensor a = random(at::kFloat), b = at::empty_like(a);
    copy = 8.0 * static_cast<double>(rows * width) / best_seconds([&] { b.copy_(a); });
    std::printf("%ld x %ld: copy of fp32 %.1f GB/s (read + written)\n", rows, width, copy / 1e9);
  }

  void norms() const {
    const Tensor x = random(at::kBFloat16), d = random(at::kBFloat16), dy = random(at::kBFloat16);
    const Tensor w = at::ones({width}), w16 = w.to(at::kBFloat16);
    line(
        "rms_norm bf16", 4, [&] { rms_norm(x, w, 1e-5); }, [&] { rms_norm_reference(x, w, 1e-5); });
    line(
        "add_rms_norm bf16", 8, [&] { add_rms_norm(x, d, w, 1e-5); },
        [&] { rms_norm_reference(x + d, w, 1e-5); });
    line(
        "layer_norm bf16", 4, [&] { layer_norm(x, w, w, 1e-5); },
        [&] { at::layer_norm(x, {width}, w16, w16, 1e-5); });
    for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
      const NormResult kept = norm_forward(kind, x, Tensor(), w, Tensor(), 1e-5, true);
      const NormSaved saved{x, w, kept.mean, kept.rstd};
      const bool rms = kind == NormKind::rms;
      line(rms ? "rms_norm backward bf16" : "layer_norm backward bf16", 6,
           [&] { norm_backward(kind, saved, dy, Tensor(), true, !rms); });
      if (rms) line("add_rms_norm backward bf16", 8, [&] { norm_backward(kind, saved, dy, d, true, false); });
    }
    const Tensor x32 = random(at::kFloat);
    line(
        "rms_norm fp32", 8, [&] { rms_norm(x32, w, 1e-5); }, [&] { rms_norm_reference(x32, w, 1e-5); });
    line(
        "layer_norm fp32", 8, [&] { layer_norm(x32, w, w, 1e-5); },
        [&] { at::layer_norm(x32, {width}, w, w, 1e-5); });
  }

  void activations() const {
    const Tensor x = random(at::kBFloat16), u = random(at::kBFloat16), dy = random(at::kBFloat16);
    const std::pair<Activation, const char*> all[] = {{Activation::relu, "relu"},
                                                      {Activation::silu, "silu"},
                                                      {Activation::gelu, "gelu"},
                                                      {Activation::gelu_tanh, "gelu_tanh"}};
    for (const auto& [f, name] : all) {
      const Activation which = f;
      line(
          std::string(name) + " bf16", 4, [&] { activate_forward(which, x); },
          [&] { activate_reference(which, x); });
      line(std::string(name) + " backward bf16", 6, [&] { activate_backward(which, x, dy); });
    }
    const Tensor dg = at::empty_like(x), du = at::empty_like(x);
    line(
        "swiglu bf16", 6, [&] { swiglu_forward(x, u); }, [&] { swiglu_reference(x, u); });
    line("swiglu backward bf16", 10, [&] { swiglu_backward(x, u, dy, dg, du); });
  }

  void rotary_and_dropout() const {
    const int64_t heads = width / 64;
    const Tensor x = random(at::kBFloat16).view({1, rows, heads, 64});
    for (const bool interleaved : {false, true}) {
      RotaryOptions o;
      o.width = 64;
      o.interleaved = interleaved;
      const RotaryTable table(o);
      const Rotation r = table.run({0}, rows, x.options());
      const std::string kind = interleaved ? "interleaved" : "half";
      line(
          "rotate " + kind + " bf16", 4, [&] { rotate(x, r); }, [&] { rotate_reference(x, r); });
      line("rotate_ " + kind + " bf16", 4, [&] { rotate_(x, r); });
    }
    const Site site{.seed = 1, .draw = Draw::dropout_residual};
    const Tensor flat = x.view({1, -1}), wide = flat.to(at::kFloat);
    line(
        "dropout bf16", 4, [&] { dropout(flat, 0.1, site); }, [&] { at::dropout(flat, 0.1, true); });
    line(
        "dropout fp32", 8, [&] { dropout(wide, 0.1, site); }, [&] { at::dropout(wide, 0.1, true); });
  }

  void optimizer() const {
    const Tensor p = random(at::kFloat), g = random(at::kFloat), m = at::zeros_like(p), v = at::zeros_like(p);
    const Tensor g16 = g.to(at::kBFloat16), copy16 = p.to(at::kBFloat16);
    const auto step = [&](const Tensor& grad, const Tensor& narrow) {
      return std::vector<AdamwStep>{{p, grad, m, v, narrow, 10, 1e-3, 0.1}};
    };
    line(
        "adamw", 28, [&] { adamw_step(step(g, Tensor()), {}); },
        [&] { adamw_step_reference(step(g, Tensor())[0], {}, {}); });
    line("adamw, bf16 gradients and copy", 28, [&] { adamw_step(step(g16, copy16), {}); });
    line("sgd with momentum", 20, [&] {
      sgd_step({{p, g, m, Tensor(), false, 1e-3, 0.1}}, {0.9, 0, false});
    });
    line(
        "global_norm", 4, [&] { global_norm({g}); }, [&] { g.norm(); });
    line("scale_gradients", 8, [&] { scale_gradients({g}, {0.999}); });
  }

  void all() {
    measure_copy();
    norms();
    activations();
    rotary_and_dropout();
    optimizer();
  }
};

}  // namespace

int main(int argc, char** argv) {
  int64_t threads = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--threads") threads = std::atol(argv[i + 1]);
    if (std::string(argv[i]) == "--seconds") budget = std::atof(argv[i + 1]);
  }
  // Memory that was freed is kept: otherwise every large result costs a page fault for each 4 KB.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2047 << 20);
  std::printf("level %s, %d threads\n", cpu_level_name(cpu_level()).c_str(), set_threads(threads));
  Bench{512, 768}.all();
  Bench{16384, 2048}.all();
  return 0;
}
