#include "ops/gemm_core.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "ops/cpu.h"
#include "ops/gemm_memory.h"

namespace mneme::gemm {
namespace {

constexpr int64_t kL1Steps =
    16;                        // steps of a panel that stay in L1 (32 KB); half as many beside rows in fp32
constexpr int64_t kGroup = 4;  // panels that are delivered together
constexpr int64_t kMostFewRows = 16;

thread_local Scratch packed_rows, sums;

// One thread's part of a product: some block rows and some panels of C.
struct Part {
  const Kernels& kernel;
  int64_t m, n, k;
  Left a;
  Right b;
  Sink& sink;
  int thread;

  void run(Range rows, Range panels) const;

 private:
  void pack(Range rows, Range steps, Bf16* out) const;
  void chunk(Range rows, Range panels, Range steps, const Bf16* packed, float* c, bool keep) const;
  void deliver(const float* sums, Range rows, Range panels) const;
};

void Part::pack(Range rows, Range steps, Bf16* out) const {
  const int64_t first = steps.begin * kBlock, depth = std::min(steps.end * kBlock, k) - first;
  const int64_t step = kStep * kernel.a_words, size = steps.size() * step;
  if (!a.transposed) {
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t row = (rows.begin + i) * kBlock;
      kernel.pack_a(a.data + row * a.stride + first, a.stride, std::min(kBlock, m - row), depth,
                    out + i * size);
    }
    return;
  }
  for (int64_t s = 0; s < steps.size(); ++s) {  // along the rows of the memory
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t row = (rows.begin + i) * kBlock, d = s * kBlock;
      kernel.pack_a_t(a.data + (first + d) * a.stride + row, a.stride, std::min(kBlock, m - row),
                      std::min(kBlock, depth - d), out + i * size + s * step);
    }
  }
}

// Packed rows against panels over some steps of the depth: a piece of a panel stays in L1 while all the rows
// pass, and the next panel is fetched into L2 meanwhile. c holds the sums: of a group of panels, or of all
// when the depth comes in several chunks (keep). A group is delivered together, so that rows of C are written
// in longer runs.
void Part::chunk(Range rows, Range panels, Range steps, const Bf16* packed, float* c, bool keep) const {
  const bool last = steps.end == round_up(k, kBlock) / kBlock;
  const int64_t in_l1 = kL1Steps / kernel.a_words, a_step = kStep * kernel.a_words;
  const int64_t pieces = (steps.size() + in_l1 - 1) / in_l1;
  const int64_t lines = (kBlock + rows.size() - 1) / rows.size();
  for (int64_t begin = panels.begin; begin < panels.end; begin += kGroup) {
    const Range group{begin, std::min(panels.end, begin + kGroup)};
    float* sums = c + (keep ? (begin - panels.begin) * rows.size() * kTileFloats : 0);
    for (int64_t panel = group.begin; panel < group.end; ++panel) {
      const Bf16* right = b.data + panel * b.panel_stride + steps.begin * kStep;
      float* sum = sums + (panel - group.begin) * rows.size() * kTileFloats;
      const char* next = reinterpret_cast<const char*>(right + b.panel_stride);
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const Range part = share(steps.size(), piece, pieces);
        for (int64_t i = 0; i < rows.size(); ++i) {
          const Prefetch prefetch{next, panel + 1 < panels.end ? lines : 0};
          next += lines * part.size() * 64;
          kernel.block(packed + (i * steps.size() + part.begin) * a_step, right + part.begin * kStep,
                       sum + i * kTileFloats, part.size(), steps.begin == 0 && piece == 0, prefetch);
        }
      }
    }
    if (last) deliver(sums, rows, group);
  }
}

void Part::deliver(const float* sums, Range rows, Range panels) const {
  for (int64_t i = 0; i < rows.size(); ++i) {
    const int64_t row = (rows.begin + i) * kBlock;
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const int64_t column = panel * kBlock;
      sink.take(sums + ((panel - panels.begin) * rows.size() + i) * kTileFloats, row, column,
                std::min(kBlock, m - row), std::min(kBlock, n - column), thread);
    }
  }
}

void Part::run(Range rows, Range panels) const {
  if (rows.size() <= 0 || panels.size() <= 0) return;
  const int64_t total = round_up(k, kBlock) / kBlock;
  const int64_t budget = l2_bytes() * 6 / 10, a_step = kStep * kernel.a_words;
  const int64_t step_bytes = a_step * sizeof(Bf16);
  constexpr int64_t kSumBytes = kTileFloats * sizeof(float);
  // Rows in L2: 256 of them (128 in fp32, which takes longer) make B's traffic cheap. All of the depth at
  // once if that fits, else 1024 at a time, with the sums of a group of panels waiting in L2.
  const int64_t wanted = std::min<int64_t>(rows.size(), 8 / kernel.a_words);
  const bool whole = wanted * total * step_bytes <= budget;
  const int64_t depth = whole ? total : 32;
  const int64_t height = std::clamp<int64_t>(budget / 2 / (total * step_bytes), wanted, 16);
  const int64_t tall = whole ? std::min(height, rows.size()) : wanted;
  const int64_t width = whole ? panels.size() : std::max<int64_t>(1, budget / 2 / (tall * kSumBytes));
  kernel.begin();
  for (int64_t row = rows.begin; row < rows.end; row += tall) {
    const Range some{row, std::min(rows.end, row + tall)};
    Bf16* packed = packed_rows.get<Bf16>(tall * depth * a_step);
    for (int64_t panel = panels.begin; panel < panels.end; panel += width) {
      const Range group{panel, std::min(panels.end, panel + width)};
      float* c = sums.get<float>(kTileFloats * tall * (whole ? kGroup : width));
      for (int64_t step = 0; step < total; step += depth) {
        const Range steps{step, std::min(total, step + depth)};
        pack(some, steps, packed);
        chunk(some, group, steps, packed, c, !whole);
      }
    }
  }
  kernel.end();
}

// Time in units of a block product of depth 1: products, packing of rows, reading of panels once per eight
// rows.
double cost(int64_t tall, int64_t wide) {
  return static_cast<double>(tall * wide) + 4.0 * static_cast<double>(tall) +
         static_cast<double>(wide * ((tall + 15) / 16));
}

void multiply_few(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, Sink& sink,
                  const Kernels& kernel) {
  const int64_t panels = round_up(n, kBlock) / kBlock, steps = round_up(k, kBlock) / kBlock;
  Bf16* x = packed_rows.get<Bf16>(m * steps * kBlock);
  for (int64_t r = 0; r < m; ++r) {
    Bf16* row = x + r * steps * kBlock;
    std::memcpy(row, a.data + r * a.stride, sizeof(Bf16) * k);
    std::fill(row + k, row + steps * kBlock, Bf16{0});
  }
  share_out(m * n * k, 1, panels, cost, [&](Range, Range some, int thread) {
    alignas(64) float c[kMostFewRows * kBlock];
    kernel.begin();
    for (int64_t panel = some.begin; panel < some.end; ++panel) {
      kernel.rows(x, m, b.data + panel * b.panel_stride, c, steps);
      sink.take(c, 0, panel * kBlock, m, std::min(kBlock, n - panel * kBlock), thread);
    }
    kernel.end();
  });
}

void deliver_zeros(int64_t m, int64_t n, Sink& sink) {
  const float zeros[kTileFloats] = {};
  for (int64_t row = 0; row < m; row += kBlock) {
    for (int64_t column = 0; column < n; column += kBlock) {
      sink.take(zeros, row, column, std::min(kBlock, m - row), std::min(kBlock, n - column), 0);
    }
  }
}

// Panel by panel: source [n, k].
template <class T, class Pack>
void pack_panels(const T* source, int64_t stride, int64_t n, int64_t k, Bf16* out, Pack pack) {
  const int64_t panels = round_up(n, kBlock) / kBlock, size = round_up(k, kBlock) * kBlock;
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      pack(source + p * kBlock * stride, stride, std::min(kBlock, n - p * kBlock), k, out + p * size);
    }
  });
}

// Step by step, along the rows of the memory: source [k, n].
template <class T, class Pack>
void pack_steps(const T* source, int64_t stride, int64_t n, int64_t k, Bf16* out, Pack pack) {
  const int64_t panels = round_up(n, kBlock) / kBlock, steps = round_up(k, kBlock) / kBlock;
  at::parallel_for(0, steps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t p = 0; p < panels; ++p) {
        pack(source + s * kBlock * stride + p * kBlock, stride, std::min(kBlock, n - p * kBlock),
             std::min(kBlock, k - s * kBlock), out + (p * steps + s) * kStep);
      }
    }
  });
}

}  // namespace

const Kernels& kernels() {
  switch (cpu_level()) {
    case CpuLevel::amx:
      return amx_kernels();
    case CpuLevel::avx512:
      return avx512_kernels(cpu_multiplies_bf16(), cpu_rounds_to_bf16());
    case CpuLevel::avx2:
      return avx2_kernels();
    default:
      return baseline_kernels();
  }
}

void multiply(int64_t m, int64_t n, int64_t k, const Left& a, const Right& b, Sink& sink) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) return deliver_zeros(m, n, sink);
  const Kernels& kernel = kernels();
  if (m <= kernel.few && !a.transposed) return multiply_few(m, n, k, a, b, sink, kernel);
  const int64_t blocks = round_up(m, kBlock) / kBlock, panels = round_up(n, kBlock) / kBlock;
  share_out(m * n * k, blocks, panels, cost, [&](Range rows, Range columns, int thread) {
    Part{kernel, m, n, k, a, b, sink, thread}.run(rows, columns);
  });
}

void pack_right_nk(const Bf16* source, int64_t stride, int64_t n, int64_t k, Bf16* out) {
  pack_panels(source, stride, n, k, out, kernels().pack_b_nk);
}

void pack_right_nk(const float* source, int64_t stride, int64_t n, int64_t k, Bf16* out) {
  pack_panels(source, stride, n, k, out, kernels().pack_b_nk_f32);
}

void pack_right_kn(const Bf16* source, int64_t stride, int64_t n, int64_t k, Bf16* out) {
  pack_steps(source, stride, n, k, out, kernels().pack_b_kn);
}

void pack_right_kn(const float* source, int64_t stride, int64_t n, int64_t k, Bf16* out) {
  pack_steps(source, stride, n, k, out, kernels().pack_b_kn_f32);
}

}  // namespace mneme::gemm
