// Landmark attention against plain causal attention of the same shape, forward and backward, in turns within
// one run; and retrieval from stored blocks.
//
//   landmark_bench [--threads N] [--seconds N] [--type bf16|fp32] [--heads H] [--key-heads G] [--width K]
//   [--rows B] (MNEME_CPU lowers the level)
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/cpu.h"
#include "ops/landmark_attention.h"
#include "ops/landmark_retrieval.h"
#include "tensor/threads.h"

namespace {

using namespace mneme;

struct Settings {
  double seconds = 0.5;
  int64_t B = 1, H = 8, G = 8, K = 64;
  at::ScalarType type = at::kBFloat16;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Best seconds of each, in turns: others may be using the machine.
std::vector<double> best_of(const std::vector<std::function<double()>>& runs, double seconds) {
  std::vector<double> best(runs.size(), 1e30);
  for (const auto& run : runs) run();
  const double end = now() + seconds * static_cast<double>(runs.size());
  for (int i = 0; i < 5 || now() < end; ++i) {
    for (size_t r = 0; r < runs.size(); ++r) best[r] = std::min(best[r], runs[r]());
  }
  return best;
}

double timed(const std::function<void()>& run) {
  const double start = now();
  run();
  return now() - start;
}

struct Data {
  Tensor q, k, v, grad;
};

Data make(const Settings& s, int64_t T) {
  auto leaf = [&](int64_t heads) { return at::randn({s.B, T, heads, s.K}).to(s.type).requires_grad_(); };
  return {leaf(s.H), leaf(s.G), leaf(s.G), at::randn({s.B, T, s.H, s.K}).to(s.type)};
}

using Forward = std::function<Tensor(const Data&)>;

double forward_seconds(const Data& d, const Forward& f) {
  at::NoGradGuard no_grad;
  return timed([&] { f(d); });
}

double backward_seconds(Data& d, const Forward& f) {
  const Tensor out = f(d);
  const double seconds = timed([&] { out.backward(d.grad); });
  for (Tensor* t : {&d.q, &d.k, &d.v}) t->mutable_grad() = Tensor();
  return seconds;
}

void compare(const Settings& s, int64_t T, int64_t f) {
  Data d = make(s, T);
  const LandmarkKeys keys{Tensor(), Tensor(), (at::arange(T).remainder(f + 1) == f).repeat({s.B, 1}), {}};
  const Forward plain = [](const Data& x) {
    Keys keys;
    keys.k = x.k, keys.v = x.v;
    return attention(x.q, {keys});
  };
  const Forward landmark = [&](const Data& x) {
    return landmark_attention(x.q, {x.k, x.v, keys.is_landmark, {}});
  };
  const std::vector<double> best =
      best_of({[&] { return forward_seconds(d, plain); }, [&] { return forward_seconds(d, landmark); },
               [&] { return backward_seconds(d, plain); }, [&] { return backward_seconds(d, landmark); }},
              s.seconds);
  // Two products forward and five backward over half of the square.
  const double flops = 2.0 * static_cast<double>(s.B * s.H * T * T * s.K);
  std::printf(
      "  T %5ld f %3ld   forward %8.2f ms, plain %8.2f, ratio %.2f, %4.0f GFLOP/s"
      "   backward %8.2f ms, plain %8.2f, ratio %.2f, %4.0f GFLOP/s\n",
      T, f, best[1] * 1e3, best[0] * 1e3, best[1] / best[0], flops / best[1] / 1e9, best[3] * 1e3,
      best[2] * 1e3, best[3] / best[2], 2.5 * flops / best[3] / 1e9);
}

void retrieve(const Settings& s, int64_t T, int64_t N) {
  const int64_t f = 50, k = 5;
  const Tensor queries = at::randn({T, s.H, k + 1, s.K}).to(s.type),
               local = at::randn({T, s.H, s.K}).to(s.type);
  const Tensor marks = at::randn({s.G, N, s.K}).to(s.type), lse = at::randn({s.H, T});
  std::vector<LandmarkPage> pages;
  for (int64_t n = 0; n < N; ++n) {
    pages.push_back({at::randn({s.G, f + 1, s.K}).to(s.type), at::randn({s.G, f + 1, s.K}).to(s.type)});
  }
  LandmarkSearch search;
  search.k = k;
  const Tensor selected = landmark_search(queries, {marks}, search);
  const std::vector<double> best =
      best_of({[&] { return timed([&] { landmark_search(queries, {marks}, search); }); },
               [&] { return timed([&] { landmark_recall(queries, pages, selected, local, lse, search); }); }},
              s.seconds);
  std::printf("  %4ld queries, %5ld blocks of %ld, %ld read   search %8.3f ms   recall %8.3f ms\n", T, N, f,
              k, best[0] * 1e3, best[1] * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  // Large buffers stay in the process, so that a run does not pay for fresh pages.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  Settings s;
  int threads = 2;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--threads") threads = std::atoi(value.c_str());
    if (name == "--seconds") s.seconds = std::atof(value.c_str());
    if (name == "--type") s.type = parse_dtype(value);
    if (name == "--heads") s.H = std::atol(value.c_str());
    if (name == "--key-heads") s.G = std::atol(value.c_str());
    if (name == "--width") s.K = std::atol(value.c_str());
    if (name == "--rows") s.B = std::atol(value.c_str());
  }
  set_threads(threads);
  std::printf("%s, %s, %d threads, B %ld, H %ld, G %ld, K %ld\n", cpu_level_name(cpu_level()).c_str(),
              dtype_name(s.type).c_str(), threads, s.B, s.H, s.G, s.K);
  for (const int64_t T : {512, 2048, 4096}) {
    for (const int64_t f : {50, 63}) compare(s, T, f);
  }
  for (const int64_t T : {1, 250}) {
    for (const int64_t N : {40, 640}) retrieve(s, T, N);
  }
  return 0;
}
