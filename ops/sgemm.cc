#include "ops/sgemm.h"

#include <algorithm>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/gemm_memory.h"
#include "ops/gemm_threads.h"

namespace mneme {
namespace sgemm {
namespace {

using gemm::Range;
using gemm::share;

constexpr int64_t kTurnedDepth = 32;  // rows of a turned A that are packed for some strips at a time

thread_local gemm::Scratch left_memory, right_memory;

int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Elements of either packed operand that are in L2 at a time.
int64_t part_of_l2() { return gemm::l2_bytes() / 4 / static_cast<int64_t>(sizeof(float)); }

// One thread's part of a product: some strips of rows and some panels of columns. The depth comes in chunks.
// A group of panels of a chunk is packed into L2, and passed by all the strips, which are packed just before.
struct Part {
  const Kernels& kernel;
  int64_t m, n, k;
  Matrix a, b;
  Output c;

  void run(Range strips, Range panels) const;

 private:
  int64_t strips() const { return pieces(m, kernel.rows); }
  // Strips are of even height, so that none is a slow rest.
  Range rows(int64_t strip) const { return share(m, strip, strips()); }
  int64_t strip_size() const { return std::max(kernel.rows * kLeftStride, kernel.turned_stride * kDepth); }
  void pack_left(Range strips, Range depth, float* out) const;
  void pack_right(Range panels, Range depth, float* out) const;
  void multiply(Range rows, Range panels, Range depth, const float* left, const float* right) const;
};

void Part::pack_left(Range strips, Range depth, float* out) const {
  if (!a.turned) {
    for (int64_t s = strips.begin; s < strips.end; ++s, out += strip_size()) {
      const Range some = rows(s);
      kernel.pack_left(a.data + some.begin * a.stride + depth.begin, a.stride, some.size(), depth.size(),
                       out);
    }
    return;
  }
  for (int64_t d = depth.begin; d < depth.end; d += kTurnedDepth) {
    float* to = out + (d - depth.begin) * kernel.turned_stride;
    for (int64_t s = strips.begin; s < strips.end; ++s, to += strip_size()) {
      const Range some = rows(s);
      kernel.pack_left_turned(a.data + d * a.stride + some.begin, a.stride, some.size(),
                              std::min(kTurnedDepth, depth.end - d), to);
    }
  }
}

void Part::pack_right(Range panels, Range depth, float* out) const {
  for (int64_t p = panels.begin; p < panels.end; ++p, out += depth.size() * kernel.columns) {
    const int64_t column = p * kernel.columns, columns = std::min(kernel.columns, n - column);
    if (b.turned) {
      kernel.pack_right_turned(b.data + column * b.stride + depth.begin, b.stride, columns, depth.size(),
                               out);
    } else {
      kernel.pack_right(b.data + depth.begin * b.stride + column, b.stride, columns, depth.size(), out);
    }
  }
}

void Part::multiply(Range rows, Range panels, Range depth, const float* left, const float* right) const {
  const int64_t column = panels.begin * kernel.columns;
  float* to = c.data + rows.begin * c.stride + column;
  Strip strip{left,    right, depth.size(), to, c.stride, std::min(n, panels.end * kernel.columns) - column,
              nullptr, 0};
  if (depth.begin > 0 || c.add) {
    strip.start = to;
    strip.start_stride = c.stride;
  } else if (c.bias) {
    strip.start = c.bias + column;
  }
  kernel.strip(rows.size(), a.turned, strip);
}

void Part::run(Range strips, Range panels) const {
  if (strips.size() <= 0 || panels.size() <= 0) return;
  // A single strip uses a panel once: it is packed no further than L1.
  const int64_t panel_size = kDepth * kernel.columns;
  const int64_t most = strips.size() == 1 ? 1 : part_of_l2() / panel_size;
  const int64_t groups = pieces(panels.size(), std::max<int64_t>(1, most));
  float* right = right_memory.get<float>(pieces(panels.size(), groups) * panel_size);
  // Strips that are packed together, so that a turned A is read in long runs.
  const int64_t at_once = std::min(strips.size(), pieces(part_of_l2(), strip_size()));
  float* left = left_memory.get<float>(at_once * strip_size());
  for (int64_t g = 0; g < groups; ++g) {
    Range group = share(panels.size(), g, groups);
    group = {panels.begin + group.begin, panels.begin + group.end};
    for (int64_t d = 0; d < k; d += kDepth) {
      const Range depth{d, std::min(k, d + kDepth)};
      pack_right(group, depth, right);
      for (int64_t s = strips.begin; s < strips.end; s += at_once) {
        const Range some{s, std::min(strips.end, s + at_once)};
        pack_left(some, depth, left);
        for (int64_t i = some.begin; i < some.end; ++i) {
          multiply(rows(i), group, depth, left + (i - some.begin) * strip_size(), right);
        }
      }
    }
  }
}

// Time in units of a tile of depth 1: products, packing of panels and of strips.
double cost(int64_t tall, int64_t wide) {
  return static_cast<double>(tall * wide) + static_cast<double>(wide) + 0.2 * static_cast<double>(tall);
}

void without_depth(int64_t m, int64_t n, const Output& c) {
  if (c.add) return;
  for (int64_t r = 0; r < m; ++r) {
    float* row = c.data + r * c.stride;
    if (c.bias) {
      std::copy(c.bias, c.bias + n, row);
    } else {
      std::fill(row, row + n, 0.0f);
    }
  }
}

}  // namespace

const Kernels& kernels() {
  const CpuLevel level = cpu_level();
  return level >= CpuLevel::avx512 ? kAvx512 : level == CpuLevel::avx2 ? kAvx2 : kBaseline;
}

void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Output& c) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) return without_depth(m, n, c);
  const Part part{kernels(), m, n, k, a, b, c};
  gemm::share_out(m * n * k, pieces(m, part.kernel.rows), pieces(n, part.kernel.columns), cost,
                  [&](Range strips, Range panels, int) { part.run(strips, panels); });
}

}  // namespace sgemm

namespace {

bool rows_are_contiguous(const Tensor& t) { return t.stride(1) == 1 || t.size(1) <= 1; }

// `kept` holds the copy that a matrix with gaps in both directions needs.
sgemm::Matrix matrix(const Tensor& t, Tensor& kept) {
  if (rows_are_contiguous(t)) return {t.data_ptr<float>(), t.stride(0), false};
  if (t.stride(0) == 1 || t.size(0) <= 1) return {t.data_ptr<float>(), t.stride(1), true};
  kept = t.contiguous();
  return {kept.data_ptr<float>(), kept.stride(0), false};
}

void multiply(const Tensor& a, const Tensor& b, const sgemm::Output& c) {
  Tensor kept_a, kept_b;
  sgemm::multiply(a.size(0), b.size(1), a.size(1), matrix(a, kept_a), matrix(b, kept_b), c);
}

bool on_kernels(const Tensor& a, const Tensor& b) {
  MNEME_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && a.scalar_type() == b.scalar_type(),
              describe(a) + " against " + describe(b));
  return a.scalar_type() == at::kFloat && a.device().is_cpu();
}

}  // namespace

Tensor matrix_product(const Tensor& a, const Tensor& b, const Tensor& bias) {
  if (!on_kernels(a, b)) return bias.defined() ? at::addmm(bias, a, b) : at::mm(a, b);
  MNEME_CHECK(
      !bias.defined() || (bias.dim() == 1 && bias.size(0) == b.size(1) && bias.scalar_type() == at::kFloat),
      bias.defined() ? describe(bias) : "");
  const Tensor row = bias.defined() ? bias.contiguous() : Tensor();
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  multiply(a, b, {out.data_ptr<float>(), out.stride(0), row.defined() ? row.data_ptr<float>() : nullptr});
  return out;
}

void add_matrix_product(const Tensor& out, const Tensor& a, const Tensor& b) {
  if (!on_kernels(a, b)) {
    Tensor(out).add_(at::mm(a, b));
    return;
  }
  MNEME_CHECK(out.dim() == 2 && out.size(0) == a.size(0) && out.size(1) == b.size(1) &&
                  out.scalar_type() == at::kFloat && rows_are_contiguous(out),
              describe(out));
  multiply(a, b, {out.data_ptr<float>(), out.stride(0), nullptr, true});
}

}  // namespace mneme
